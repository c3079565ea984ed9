"""The world: data, models, clients and the federation. Knows nothing of attacks."""
