"""TOML -> what is to be done. Loads no torch, so that a bad config is refused at once."""
