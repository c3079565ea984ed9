"""Data sets of the user's own, read from what people have on disk."""
