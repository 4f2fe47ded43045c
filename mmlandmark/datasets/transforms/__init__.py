"""Transforms: the steps from a record to the input of the network.

``LoadImage``, then geometry (which only multiplies one matrix), ``Resample`` (which reads the pixels once),
intensity, ``PackInputs``.
"""

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
    CenterCrop,
    CropAroundLandmarks,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomElastic,
    RandomFlip,
    Resample,
    Resize,
    TakeHalf,
)

__all__ = [
    "CLAHE",
    "CenterCrop",
    "CropAroundLandmarks",
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
    "Resample",
    "Resize",
    "TakeHalf",
]
