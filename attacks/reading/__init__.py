"""What an update tells for certain, without a search: labels, the logits' residual, the features of the last layer."""
