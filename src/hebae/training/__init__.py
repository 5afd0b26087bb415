"""Training: one loop for single and stacked models, run folders, checks before training."""

from hebae.deprecation import keep_moved_modules

keep_moved_modules(__name__)
