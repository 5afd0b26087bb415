"""Features by which sets of images are compared: one file an extractor, chosen by name."""

from hebae.evaluation.features.base import FeatureExtractor, NetworkFeatures, metric_name
from hebae.evaluation.features.choose import extractor
from hebae.evaluation.features.classifier import ClassifierFeatures, classifier_features
from hebae.evaluation.features.exported import exported_features
from hebae.evaluation.features.inception import inception_features
from hebae.evaluation.features.pixels import pixel_features
from hebae.evaluation.features.pretrained import timm_features

__all__ = [
    "ClassifierFeatures",
    "FeatureExtractor",
    "NetworkFeatures",
    "classifier_features",
    "exported_features",
    "extractor",
    "inception_features",
    "metric_name",
    "pixel_features",
    "timm_features",
]
