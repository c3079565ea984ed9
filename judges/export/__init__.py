"""What other tools read: the cells of a finished run, for TensorBoard and MLflow."""
