"""Pictures in one style: overlays, heatmaps, feature maps, views of volumes, curves."""

from mmlandmark.visualization.curves import (
    plot_cumulative_errors,
    plot_differences,
    plot_landmark_errors,
    plot_training,
    read_errors,
    read_scalars,
)
from mmlandmark.visualization.heatmaps import (
    VolumeHeat,
    blend_heatmap,
    feature_grid,
    feature_rows,
    heatmap_grid,
)
from mmlandmark.visualization.loss_figures import plot_configuration, plot_loss_weights
from mmlandmark.visualization.overlay import draw_landmarks
from mmlandmark.visualization.style import save_image
from mmlandmark.visualization.vis_backends import LocalVisBackend, TensorboardVisBackend
from mmlandmark.visualization.visualizer import LandmarkVisualizer
from mmlandmark.visualization.volume_picture import VolumePicture

__all__ = [
    "LandmarkVisualizer",
    "LocalVisBackend",
    "TensorboardVisBackend",
    "VolumeHeat",
    "VolumePicture",
    "blend_heatmap",
    "draw_landmarks",
    "feature_grid",
    "feature_rows",
    "heatmap_grid",
    "plot_configuration",
    "plot_cumulative_errors",
    "plot_differences",
    "plot_landmark_errors",
    "plot_loss_weights",
    "plot_training",
    "read_errors",
    "read_scalars",
    "save_image",
]
