"""What the network of a run says of images that nobody has annotated."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from mmlandmark.datasets import ImageFolderDataset, LandmarkDataset, leaf_datasets
from mmlandmark.datasets.image_checks import Pictures, copied_groups
from mmlandmark.datasets.leak_checks import same_files
from mmlandmark.datasets.left_out import sample_or_reason
from mmlandmark.datasets.split_records import read_splits
from mmlandmark.engine.processes import leave_requests_to_parent
from mmlandmark.evaluation.functional import PRESENT
from mmlandmark.registry import DATASETS, TRANSFORMS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.utils.dataset_tree import leaf_configs

_SECONDS = 5.0  # after which no further image file is opened to compare it with others

NOTHING = "the training data has no unlabelled images to label: name them in train_dataloader.unlabelled"


def check_unlabelled(loader: Mapping[str, Any]) -> None:
    """Raise ValueError if a config of a loader names no unlabelled images."""
    leaves = leaf_configs(loader.get("dataset") or {})
    if "unlabelled" not in loader and not any(map(_is_unlabelled, leaves)):
        raise ValueError(NOTHING)


def _is_unlabelled(config: Mapping[str, Any]) -> bool:
    kind = DATASETS.get(config["type"]) if isinstance(config.get("type"), str) else config.get("type")
    folder = isinstance(kind, type) and issubclass(kind, ImageFolderDataset)
    return folder or bool(config.get("unlabelled"))


def unlabelled_parts(dataset: Any) -> list[LandmarkDataset]:
    """Return the ``unlabelled`` data sets inside of one.

    Raises:
        ValueError: There is none; or an image is labelled, too, or twice among them.
    """
    leaves = leaf_datasets(dataset)
    parts = [leaf for leaf in leaves if getattr(leaf, "unlabelled", False)]
    if not parts:
        raise ValueError(NOTHING)
    own = [leaf for leaf in leaves if isinstance(leaf, LandmarkDataset)]
    # The record alone: the method of a subclass may make the image, which is slow.
    ids = [LandmarkDataset.get_data_info(leaf, n)["sample_id"] for leaf in own for n in range(len(leaf))]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise ValueError(
            f"sample {twice!r} is twice in the training data, labelled or not: remove one of them"
        )
    known = read_splits({"train": dataset}, _SECONDS).get("train")
    assert known is not None  # there are unlabelled parts
    records = known.cases.records
    groups = [*same_files(known.cases).values()]
    groups += copied_groups(Pictures(known.cases, seconds=_SECONDS).small)
    for what in known.cases.left_out:
        print_log(f"not checked before the run: {what}", "current")
    for members in groups:
        hidden = [n for n in members if "hidden_landmarks" in records[n]]
        if hidden and len(hidden) < len(members):
            names = [records[n]["sample_id"] for n in members]
            raise ValueError(
                f"the same image is labelled and unlabelled: {', '.join(map(repr, names))}. A report on its "
                "labels would measure nothing: remove it from the unlabelled ones"
            )
    return parts


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run the body with a model as in a test, without gradients; afterwards it trains as before."""
    states = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in states.items():
            module.training = training


def predict_parts(
    runner: Runner, model: Any, parts: Sequence[LandmarkDataset], pipeline: Sequence[dict] | None
) -> list[LandmarkDataSample]:
    """Return the predicted samples of the images of some data sets, the same in every process.

    Every process predicts some batches, of the same images whatever the number of processes. Images that
    cannot be read are named in the log and left out.

    Args:
        runner: Of the run, for batches and pipeline of its validation.
        model: Its detector, without the wrapper for several processes.
        parts: The data sets.
        pipeline: What happens to an image; None takes the pipeline of the validation.

    Raises:
        ValueError: There is no pipeline, and no validation to take one from; or no image can be read.
    """
    steps = clean_pipeline(runner.cfg, pipeline)
    config = runner.cfg.get("val_dataloader") or runner.cfg.train_dataloader
    seen: ConcatDataset = ConcatDataset([_Attempts(with_pipeline(part, steps)) for part in parts])
    rank, world = get_dist_info()
    size = int(config.get("batch_size", 1))
    batches = [list(range(start, min(start + size, len(seen)))) for start in range(0, len(seen), size)]
    loader: DataLoader = DataLoader(
        seen,
        batch_sampler=batches[rank::world],
        num_workers=int(config.get("num_workers", 0)),
        collate_fn=list,
        generator=torch.Generator(),  # the loader draws a number, which shall not come from the training's
    )
    leave_requests_to_parent(loader)
    own: list[tuple[int, LandmarkDataSample | str]] = []
    with evaluating(model):
        for indices, attempts in zip(batches[rank::world], loader, strict=True):
            pairs = list(zip(indices, attempts, strict=True))
            own += [(n, reason) for n, (_, reason) in pairs if reason is not None]
            readable = [(n, data) for n, (data, reason) in pairs if reason is None]
            if readable:
                samples = model.test_step(pseudo_collate([data for _, data in readable]))
                own += [(n, _bare(sample)) for (n, _), sample in zip(readable, samples, strict=True)]
    return _usable(dict(pair for pairs in all_gather_object(own) for pair in pairs), parts)


def _usable(
    gathered: Mapping[int, LandmarkDataSample | str], parts: Sequence[LandmarkDataset]
) -> list[LandmarkDataSample]:
    """Return the samples in order; name the images that have a reason instead of one."""
    places = [(part, index) for part in parts for index in range(len(part))]
    samples = []
    for n, (part, index) in enumerate(places):
        found = gathered[n]
        if isinstance(found, str):
            part.left_out.tell(index, found)
        else:
            samples.append(found)
    if not samples:
        raise ValueError(f"none of {len(places)} unlabelled images can be used; the first: {gathered[0]}")
    return samples


class _Attempts(Dataset):
    """The samples of a data set, each with None or, if it cannot be read, the reason."""

    def __init__(self, dataset: LandmarkDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, str | None]:
        return sample_or_reason(self.dataset, index)


def predicted_points(samples: Sequence[LandmarkDataSample]) -> np.ndarray:
    """Return the predictions of N samples, (N, K, D) float32 original pixels; NaN where nothing was found."""
    return np.stack([_found(sample).numpy() for sample in samples]).astype(np.float32)


def clean_pipeline(config: Mapping[str, Any], pipeline: Sequence[dict] | None) -> list[Any]:
    """Return the transforms that show an image to a network as it is.

    Args:
        config: Of the run.
        pipeline: Configs of the transforms; None takes the pipeline of the validation.

    Raises:
        ValueError: There is no pipeline, and no validation to take one from.
    """
    if pipeline is None:
        loader = config.get("val_dataloader")
        if loader is None:
            raise ValueError(
                "PseudoLabelHook: without val_dataloader, give pipeline, which loads an image to label"
            )
        pipeline = leaf_configs(loader["dataset"])[0]["pipeline"]
    return [TRANSFORMS.build(dict(step)) for step in pipeline]


def with_pipeline(part: LandmarkDataset, steps: Sequence[Any]) -> LandmarkDataset:
    """Return a data set with other transforms that shares records and cached images with the first."""
    other = copy.copy(part)
    other.pipeline = Compose(list(steps))
    return other


class TwoViews:
    """A pipeline whose samples have a second view of the image: ``clean_view``, what another one packs.

    Both views have their own frame, and landmarks in pixels of the original image, so that what is found in
    one of them is known in the other.

    Args:
        pipeline: Of the samples.
        clean: Of the second view. It draws no random numbers of the first.
    """

    def __init__(self, pipeline: Compose, clean: Compose) -> None:
        self.pipeline, self.clean = pipeline, clean

    @property
    def transforms(self) -> list[Any]:
        """The steps of both."""
        return [*self.pipeline.transforms, *self.clean.transforms]

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``dict(inputs, data_samples)`` of the first view."""
        clean = self.clean(copy.deepcopy(results))
        packed = self.pipeline(results)
        packed["data_samples"].clean_view = clean
        return packed


def predict_views(model: Any, views: Sequence[dict[str, Any]]) -> list[LandmarkDataSample]:
    """Return the predicted samples of packed images, as in a test; images of other sizes one by one.

    Args:
        model: The detector.
        views: ``dict(inputs, data_samples)`` of every image.
    """
    alike = len({tuple(view["inputs"].shape) for view in views}) == 1
    batches = [list(views)] if alike else [[view] for view in views]
    with evaluating(model):
        return [sample for batch in batches for sample in model.test_step(pseudo_collate(batch))]


def _bare(sample: LandmarkDataSample) -> LandmarkDataSample:
    """Return a sample with its prediction, and of the rest only its name, its size and its millimetres."""
    kept = {key: sample.get(key) for key in ("sample_id", "spacing", "world_from_original", "ori_shape")}
    bare = LandmarkDataSample(metainfo=kept)
    bare.pred_landmarks = _found(sample)
    return bare


def _found(sample: LandmarkDataSample) -> Tensor:
    """Return the (K, D) landmarks that are predicted, NaN where one is probably not in the image.

    A detector that learns presence says a place of every landmark. As a label it would teach that all are
    there.
    """
    points, presence = sample.pred_landmarks.detach().cpu(), sample.get("pred_presence")
    if presence is None:
        return points
    return torch.where((presence.cpu() < PRESENT)[:, None], torch.nan, points)
