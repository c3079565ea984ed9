"""The report of a run of gradient inversion, or of an audit."""
