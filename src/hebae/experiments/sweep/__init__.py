"""A grid of trainings: every combination of some settings' values, and what became of each."""
