"""Shapes of landmarks, in 2D and 3D, with missing points: alignment, modes, how usual a shape is."""

from mmlandmark.shape.alignment import (
    Alignment,
    Sides,
    align,
    angles_between,
    both_sides,
    chosen_side,
    find_typical,
    find_typical_of_some,
    in_tangent_space,
    mean_rotation,
    mirror_image,
    normalised,
)
from mmlandmark.shape.point_distribution_model import (
    Adjustment,
    PointDistributionModel,
    Regulated,
    shapiro_wilk,
)
from mmlandmark.shape.robust_fit import RobustFit, fit_robustly
from mmlandmark.shape.shape_model import ShapeModel, cross_fitted
from mmlandmark.shape.shape_prior import Choice, ShapePrior
from mmlandmark.shape.tails import Tails
from mmlandmark.shape.typical_shape import TypicalShape

__all__ = [
    "Adjustment",
    "Alignment",
    "Choice",
    "PointDistributionModel",
    "Regulated",
    "RobustFit",
    "ShapeModel",
    "ShapePrior",
    "Sides",
    "Tails",
    "TypicalShape",
    "align",
    "angles_between",
    "both_sides",
    "chosen_side",
    "cross_fitted",
    "find_typical",
    "find_typical_of_some",
    "in_tangent_space",
    "fit_robustly",
    "mean_rotation",
    "mirror_image",
    "normalised",
    "shapiro_wilk",
]
