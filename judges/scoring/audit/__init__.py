"""What only audits need: checks of their evidence, controls from public pictures, and the rungs of the ladder."""
