"""Phantoms: generated images like radiographs and CT volumes, with exact landmarks."""

from mmlandmark.datasets.phantom.generate import DEFAULT_SIZES, SCHEMAS, bits_of, render_phantom, sample_scene
from mmlandmark.datasets.phantom.phantom_dataset import PhantomDataset

__all__ = ["DEFAULT_SIZES", "SCHEMAS", "PhantomDataset", "bits_of", "render_phantom", "sample_scene"]
