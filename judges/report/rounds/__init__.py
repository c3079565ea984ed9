"""The report of a run over rounds: every threat to the same federations against the rounds of training."""
