"""Transforms: the steps from a record to the input of the network.

``LoadImage``, then geometry (which only multiplies one matrix), ``Resample`` (which reads the pixels once),
intensity, ``PackInputs``.
"""

from mmlandmark.datasets.transforms.alignment import AlignToTypicalShape
from mmlandmark.datasets.transforms.cropping import (
    CenterCrop,
    CropAroundLandmarks,
    ForegroundCrop,
    Pad,
    RandomCrop,
    RandomPatch,
    TakeHalf,
)
from mmlandmark.datasets.transforms.intensity import (
    CLAHE,
    NormalizeIntensity,
    RandomBlur,
    RandomBrightnessContrast,
    RandomGamma,
    RandomHueSaturation,
    RandomNoise,
)
from mmlandmark.datasets.transforms.loading import LoadImage
from mmlandmark.datasets.transforms.packing import PackInputs
from mmlandmark.datasets.transforms.spatial import (
    RandomAffine,
    RandomElastic,
    RandomFlip,
    Resample,
    ResampleSpacing,
    Resize,
)

__all__ = [
    "AlignToTypicalShape",
    "CLAHE",
    "CenterCrop",
    "CropAroundLandmarks",
    "ForegroundCrop",
    "LoadImage",
    "NormalizeIntensity",
    "PackInputs",
    "Pad",
    "RandomAffine",
    "RandomBlur",
    "RandomBrightnessContrast",
    "RandomCrop",
    "RandomElastic",
    "RandomFlip",
    "RandomGamma",
    "RandomHueSaturation",
    "RandomNoise",
    "RandomPatch",
    "Resample",
    "ResampleSpacing",
    "Resize",
    "TakeHalf",
]
