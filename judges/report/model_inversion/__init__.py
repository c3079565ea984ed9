"""The report of a run of model inversion."""
