"""Does the work of an experiment: federations, attacks and judgement, here, in workers or on Ray."""
