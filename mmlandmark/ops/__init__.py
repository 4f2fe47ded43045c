"""Public functions on heatmaps and volumes: native operators, each with its twin in plain PyTorch."""

from mmlandmark.ops.backend import Backend, backend, using_reference
from mmlandmark.ops.blob_centroid import blob_centroid
from mmlandmark.ops.centroid import centroid, marginals
from mmlandmark.ops.ewc_loss import ewc_error, ewc_loss, ewc_loss_map
from mmlandmark.ops.gaussian_heatmap import SEPARABLE_SHAPES, gaussian_heatmap, separable_profiles
from mmlandmark.ops.local_window import local_window, window_index
from mmlandmark.ops.refined_peak import local_centroid, peak, quadratic_fit, quadratic_peak, refined_peak
from mmlandmark.ops.region_distance import region_distance
from mmlandmark.ops.resample import resample
from mmlandmark.ops.soft_argmax import soft_argmax, spatial_expectation

__all__ = [
    "SEPARABLE_SHAPES",
    "Backend",
    "backend",
    "blob_centroid",
    "centroid",
    "ewc_error",
    "ewc_loss",
    "ewc_loss_map",
    "gaussian_heatmap",
    "local_centroid",
    "local_window",
    "marginals",
    "peak",
    "quadratic_fit",
    "quadratic_peak",
    "refined_peak",
    "region_distance",
    "resample",
    "separable_profiles",
    "soft_argmax",
    "spatial_expectation",
    "using_reference",
    "window_index",
]
