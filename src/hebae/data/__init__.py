"""Data: names, paths and arrays become data sets, split into training and held-out examples."""

from hebae.data.examples import Dataset, Examples
from hebae.data.loading import catalogue, load, prepare
from hebae.data.source import DataSource
from hebae.deprecation import keep_moved_modules

__all__ = ["DataSource", "Dataset", "Examples", "catalogue", "load", "prepare"]

keep_moved_modules(__name__)
