"""Opens the seal: compares answers with the truth. No other room does so."""
