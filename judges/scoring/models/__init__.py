"""What is measured of models, beside what is attacked: health, held-out accuracy, and what they make of answers."""
