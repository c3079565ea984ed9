"""Data sets of still images, each with its loader."""
