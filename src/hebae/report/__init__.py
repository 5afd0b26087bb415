"""Figures, tables and one HTML page, from arrays and numbers; knows nothing of models."""
