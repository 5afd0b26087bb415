"""Training: one loop for single and stacked models, run folders, checks before training."""
