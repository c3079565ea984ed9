"""What captured updates show by themselves: nothing in this folder opens the truth."""
