"""Where examples come from: a name, a path or an array in; splits of arrays out."""

from hebae.data.examples import Dataset, Examples
from hebae.data.loading import catalogue, load, prepare
from hebae.data.source import DataSource

__all__ = ["DataSource", "Dataset", "Examples", "catalogue", "load", "prepare"]
