"""Where images and landmarks come from, and what happens to them on the way to the network."""

from mmlandmark.datasets import phantom, releases, transforms
from mmlandmark.datasets.dataset_wrappers import RepeatDataset, set_epoch, set_seed
from mmlandmark.datasets.half_image_dataset import HalfImageDataset
from mmlandmark.datasets.image_folder_dataset import ImageFolderDataset
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.phantom import PhantomDataset
from mmlandmark.datasets.pseudo_labels import PseudoLabels
from mmlandmark.datasets.samplers import (
    DefaultSampler,
    EndlessDataset,
    InfiniteSampler,
    LabelledShareSampler,
    PartsInTurnSampler,
    with_loader_sizes,
    with_unlabelled,
    without_end,
)
from mmlandmark.datasets.shards import ShardedDataset, ShardSampler
from mmlandmark.datasets.split_records import SplitRecords
from mmlandmark.utils.dataset_tree import leaf_datasets

__all__ = [
    "DefaultSampler",
    "EndlessDataset",
    "HalfImageDataset",
    "ImageFolderDataset",
    "InfiniteSampler",
    "LabelledShareSampler",
    "PartsInTurnSampler",
    "LandmarkDataset",
    "PhantomDataset",
    "PseudoLabels",
    "RepeatDataset",
    "ShardSampler",
    "ShardedDataset",
    "SplitRecords",
    "leaf_datasets",
    "phantom",
    "releases",
    "set_epoch",
    "set_seed",
    "transforms",
    "with_loader_sizes",
    "with_unlabelled",
    "without_end",
]
