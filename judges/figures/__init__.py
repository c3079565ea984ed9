"""Draws rows and pictures with matplotlib, without pyplot and so without a display."""
