"""A regression from the gradients of auxiliary examples to these examples, applied to the captured gradient."""
