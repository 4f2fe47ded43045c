"""Structures: landmarks, detections, coordinate frames and landmark schemas."""

from mmlandmark.structures.coordinates import (
    apply_matrix,
    crop_matrix,
    flip_matrix,
    frame_center,
    grid_unit,
    invert_matrix,
    is_inside,
    resize_matrix,
    rotation_matrix,
    scale_matrix,
    translation_matrix,
)
from mmlandmark.structures.detection import Detection
from mmlandmark.structures.frame import (
    canonical_matrix,
    direction_letters,
    first_slice,
    is_frame,
    mm_steps,
    orientation_code,
    original_from_world,
    spacing_of,
    swap_lps_ras,
    world_from_image,
    world_matrix,
)
from mmlandmark.structures.landmark_data_sample import LandmarkDataSample
from mmlandmark.structures.landmark_names import (
    metainfo_of,
    name_difference,
    names_cure,
    names_of,
    only_numbered,
    schema_of,
)
from mmlandmark.structures.landmark_schema import LandmarkSchema
from mmlandmark.structures.prediction import MeasuredValue, Prediction

__all__ = [
    "Detection",
    "LandmarkDataSample",
    "LandmarkSchema",
    "MeasuredValue",
    "Prediction",
    "apply_matrix",
    "canonical_matrix",
    "crop_matrix",
    "direction_letters",
    "first_slice",
    "flip_matrix",
    "frame_center",
    "grid_unit",
    "invert_matrix",
    "is_inside",
    "is_frame",
    "mm_steps",
    "metainfo_of",
    "name_difference",
    "names_cure",
    "names_of",
    "only_numbered",
    "orientation_code",
    "original_from_world",
    "resize_matrix",
    "rotation_matrix",
    "scale_matrix",
    "schema_of",
    "spacing_of",
    "swap_lps_ras",
    "translation_matrix",
    "world_from_image",
    "world_matrix",
]
