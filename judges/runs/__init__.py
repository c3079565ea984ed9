"""What the folder of a run holds: nouns and files."""
