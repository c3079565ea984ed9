"""Opens the seal: answers beside the truth. No other room does."""
