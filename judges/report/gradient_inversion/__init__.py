"""What a report on gradient inversion says beside its numbers (words.toml)."""

from pathlib import Path

from judges.report.words import read_words

WORDS = read_words(Path(__file__).with_name("words.toml"))
NOTES = WORDS.notes
