"""Figures, tables and one HTML page, from arrays and numbers; knows nothing of models."""

from hebae.deprecation import keep_moved_modules

keep_moved_modules(__name__)
