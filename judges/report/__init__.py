"""Rows and summaries -> pages, tables and figures. Loads neither an attack nor a simulation."""
