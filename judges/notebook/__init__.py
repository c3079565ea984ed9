"""What Python programs and notebooks call: attack a model of one's own, run, audit, invert, and look at the results."""
