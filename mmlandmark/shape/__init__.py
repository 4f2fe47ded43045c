"""Shapes of landmarks, in 2D and 3D, with missing points: alignment, and how usual a shape is."""

from mmlandmark.shape.alignment import (
    Alignment,
    align,
    both_sides,
    find_typical,
    mirror_image,
    normalised,
)
from mmlandmark.shape.shape_model import ShapeModel, cross_fitted
from mmlandmark.shape.tails import Tails

__all__ = [
    "Alignment",
    "ShapeModel",
    "Tails",
    "align",
    "both_sides",
    "cross_fitted",
    "find_typical",
    "mirror_image",
    "normalised",
]
