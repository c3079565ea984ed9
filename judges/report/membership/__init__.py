"""The report of a run of membership inference."""
