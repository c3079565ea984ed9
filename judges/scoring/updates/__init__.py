"""What captured updates show by themselves, and under noise: nothing in this folder opens the truth."""
