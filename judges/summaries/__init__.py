"""Rows -> one line a cell, and what may be said of it."""
