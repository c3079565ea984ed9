"""First-order descent of candidates inside the box of their range, many victims side by side."""
