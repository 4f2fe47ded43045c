"""Phantoms: generated, radiograph-like images with exact landmarks."""

from mmlandmark.datasets.phantom.generate import DEFAULT_SIZES, SCHEMAS, render_phantom, sample_scene
from mmlandmark.datasets.phantom.phantom_dataset import PhantomDataset

__all__ = ["DEFAULT_SIZES", "SCHEMAS", "PhantomDataset", "render_phantom", "sample_scene"]
