"""Data: names, paths and arrays become data sets, split into training and held-out examples."""

from hebae.data.examples import Dataset, Examples
from hebae.data.loading import catalogue, load, prepare
from hebae.data.source import DataSource

__all__ = ["DataSource", "Dataset", "Examples", "catalogue", "load", "prepare"]
