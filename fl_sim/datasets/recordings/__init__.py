"""Recordings of event cameras, each data set with its loader."""
