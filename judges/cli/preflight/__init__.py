"""What `spikeleak check` finds out about a model of the user's own, or about the captures of a federation."""
