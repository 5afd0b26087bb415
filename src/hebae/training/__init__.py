"""Training: one loop, what it is told and tells, and what makes it exactly resumable."""
