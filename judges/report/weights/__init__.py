"""The report and the statement of an audit of a model's file: what the model alone gives away."""
