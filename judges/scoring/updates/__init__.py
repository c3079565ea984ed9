"""What captured updates show by themselves, and what is left of that under noise: nothing in this folder opens the truth."""
