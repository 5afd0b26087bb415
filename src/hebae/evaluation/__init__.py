"""Judging a trained model: pure functions over arrays, one file a family."""
