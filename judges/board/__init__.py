"""Compares what different people measured on the same victims: submissions, their checks, and the board."""
