"""Statistical inversion of the exact features of the last layer, with true forward passes only."""
