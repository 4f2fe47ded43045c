"""Landmarks on the wings of flies. Importing the package registers what its configs name."""

from fly_wings.backbone import DilatedStack
from fly_wings.codec import CentroidCodec
from fly_wings.dataset import FlyWings
from fly_wings.hook import FreezeBackboneHook
from fly_wings.loss import HuberHeatmapLoss
from fly_wings.metric import WingLengthMetric

__all__ = [
    "CentroidCodec",
    "DilatedStack",
    "FlyWings",
    "FreezeBackboneHook",
    "HuberHeatmapLoss",
    "WingLengthMetric",
]
