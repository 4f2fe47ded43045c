"""Shapes of landmarks, in 2D and 3D, with missing points: alignment, and how usual a shape is."""

from mmlandmark.shape.alignment import (
    Alignment,
    Sides,
    align,
    angles_between,
    both_sides,
    chosen_side,
    find_typical,
    mean_rotation,
    mirror_image,
    normalised,
)
from mmlandmark.shape.shape_model import ShapeModel, cross_fitted
from mmlandmark.shape.shape_prior import Choice, ShapePrior
from mmlandmark.shape.tails import Tails

__all__ = [
    "Alignment",
    "Choice",
    "ShapeModel",
    "ShapePrior",
    "Sides",
    "Tails",
    "align",
    "angles_between",
    "both_sides",
    "chosen_side",
    "cross_fitted",
    "find_typical",
    "mean_rotation",
    "mirror_image",
    "normalised",
]
