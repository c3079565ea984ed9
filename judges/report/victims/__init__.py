"""Single victims: how each fared beside the controls, and what every attack answered to it."""
