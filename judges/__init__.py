"""The court: opens the seal, scores what the attacks made, and prints the rows."""
