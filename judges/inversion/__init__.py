"""Model inversions judged: from a plan of targets and attacks to tables and a report."""
