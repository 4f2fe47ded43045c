"""Public functions on heatmaps, in plain PyTorch."""

from mmlandmark.ops.ewc_loss import ewc_error
from mmlandmark.ops.gaussian_heatmap import gaussian_heatmap, separable_profiles
from mmlandmark.ops.soft_argmax import local_centroid, local_window, peak, quadratic_peak, soft_argmax

__all__ = [
    "ewc_error",
    "gaussian_heatmap",
    "local_centroid",
    "local_window",
    "peak",
    "quadratic_peak",
    "separable_profiles",
    "soft_argmax",
]
