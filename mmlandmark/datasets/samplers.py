"""Samplers that set the pass of the data, so that every pass has new random draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dataset import sampler
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmlandmark.datasets.dataset_wrappers import RepeatDataset, set_epoch
from mmlandmark.datasets.image_folder_dataset import ImageFolderDataset
from mmlandmark.registry import DATA_SAMPLERS, DATASETS
from mmlandmark.utils.dataset_tree import leaf_configs, leaf_datasets

_FOLD_KEYS = ("fold", "num_folds", "fold_seed", "fold_split", "fold_dir")
KINDS = ("labelled", "unlabelled")


@DATA_SAMPLERS.register_module()
class DefaultSampler(sampler.DefaultSampler):
    """MMEngine's sampler, with new random draws in every pass of an iteration-based loop too.

    Such a loop has no epochs; between two passes it only calls :meth:`set_epoch` of the sampler.
    """

    def set_epoch(self, epoch: int) -> None:
        """Set the pass, for the order of the samples and for the random draws of each."""
        super().set_epoch(epoch)
        set_epoch(self.dataset, epoch)


@DATA_SAMPLERS.register_module()
class InfiniteSampler(sampler.InfiniteSampler):
    """MMEngine's endless sampler, with indices that keep growing from pass to pass.

    A worker may already load the next pass while the network trains on the current one. So the index
    carries the pass, and :class:`EndlessDataset` decodes it.
    """

    repeats = True

    def _infinite_indices(self) -> Iterator[int]:
        for position, index in enumerate(super()._infinite_indices()):
            yield index + position // self.size * self.size


@DATA_SAMPLERS.register_module()
class LabelledShareSampler(Sampler):
    """Labelled and ``unlabelled`` samples of a data set, a constant share of each in every batch.

    An epoch is all unlabelled samples once, or, with a share of 1, all labelled ones. The labelled ones begin
    anew whenever they are through, in another order and with other random draws: as of
    :class:`InfiniteSampler`, an index carries the pass. Every process has the same share.

    Args:
        dataset: An :class:`EndlessDataset` around labelled and unlabelled data; :func:`without_end` wraps it.
        labelled: Share of labelled samples, 0 to 1. A batch of 4 has one labelled sample at 0.25.
        seed: Of the order; None takes one that all processes share.

    Raises:
        ValueError: The share is out of range, or a kind that is to be drawn is not there.
    """

    repeats = True

    def __init__(self, dataset: Any, labelled: float = 0.5, seed: int | None = None) -> None:
        if not 0 <= labelled <= 1:
            raise ValueError(f"LabelledShareSampler: labelled must be in [0, 1], got {labelled}")
        self.rank, self.world_size = get_dist_info()
        self.dataset, self.labelled = dataset, labelled
        self.seed, self.epoch = sync_random_seed() if seed is None else seed, 0
        unlabelled = [
            getattr(leaf, "unlabelled", False) for leaf in leaf_datasets(dataset) for _ in range(len(leaf))
        ]
        if len(unlabelled) != len(dataset):
            raise ValueError(
                "LabelledShareSampler: repeat no data set inside of another, give shares instead"
            )
        self.kinds = [[i for i, u in enumerate(unlabelled) if u == kind] for kind in (False, True)]
        for kind, share, name in zip(self.kinds, (labelled, 1 - labelled), KINDS, strict=True):
            if share > 0 and not kind:
                raise ValueError(
                    f"LabelledShareSampler: the data has no {name} samples, and their share is {share:g}"
                )

    def __len__(self) -> int:
        """Samples of an epoch of this process."""
        total = len(self.kinds[0]) if self.labelled == 1 else len(self.kinds[1]) / (1 - self.labelled)
        return max(1, int(-(-round(total, 6) // self.world_size)))

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        streams = [self._stream(kind, generator) for kind in self.kinds]
        for position in range(len(self)):
            # Of every n samples the share is floor(n * share); 1e-9 is the error of a share such as 0.1.
            before, after = (int((position + step) * self.labelled + 1e-9) for step in (0, 1))
            drawn = [next(streams[before == after]) for _ in range(self.world_size)]
            yield drawn[self.rank]

    def _stream(self, kind: list[int], generator: torch.Generator) -> Iterator[int]:
        """Yield samples of a kind, shuffled in every pass, without end."""
        number = 0
        while kind:
            for at in torch.randperm(len(kind), generator=generator).tolist():
                yield kind[at] + number * len(self.dataset)
            number += 1

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, for the order of the samples and for the random draws of each."""
        self.epoch = epoch
        set_epoch(self.dataset, epoch)


@DATA_SAMPLERS.register_module()
class PartsInTurnSampler(Sampler):
    """The parts of a ``ConcatDataset`` one after the other, each shuffled: an epoch has a phase for each.

    Every process takes its share of every part. With ``unlabelled`` in the loader, labelled data is first.

    Args:
        dataset: A ``ConcatDataset``.
        seed: Of the order; None takes one that all processes share.

    Raises:
        ValueError: The data set has no parts.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        if not hasattr(dataset, "datasets"):
            raise ValueError(
                "PartsInTurnSampler takes the parts of a ConcatDataset in turn, and the data is one "
                f"{type(dataset).__name__}: add another part, such as train_dataloader.unlabelled"
            )
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed, self.epoch = sync_random_seed() if seed is None else seed, 0

    def __len__(self) -> int:
        """Samples of an epoch of this process."""
        return -(-len(self.dataset) // self.world_size)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order: list[int] = []
        for part in self.dataset.datasets:
            order += [len(order) + i for i in torch.randperm(len(part), generator=generator).tolist()]
        order += order[: len(self) * self.world_size - len(order)]
        yield from order[self.rank :: self.world_size]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, for the order of the samples and for the random draws of each."""
        self.epoch = epoch
        set_epoch(self.dataset, epoch)


@DATASETS.register_module()
class EndlessDataset(RepeatDataset):
    """An endless dataset with other random draws in every pass.

    Its length is that of one pass; indices may be larger.

    Args:
        dataset: Dataset, wrapper, or the config of one.
        lazy_init: Read nothing before it is needed.
    """

    def __init__(self, dataset: Any, lazy_init: bool = False) -> None:
        super().__init__(dataset, times=1, lazy_init=lazy_init)

    def __getitem__(self, idx: int) -> Any:
        """Return sample ``idx % len(dataset)`` in pass ``idx // len(dataset)``."""
        return self.in_pass(*divmod(idx, len(self)))


def without_end(loader: Any) -> Any:
    """Return a loader's config; its dataset is wrapped if its sampler repeats samples within an epoch."""
    if not getattr(_sampler_of(loader), "repeats", False):
        return loader
    return dict(loader, dataset=dict(type=EndlessDataset, dataset=loader["dataset"]))


def with_loader_sizes(loader: Any) -> Any:
    """Return a loader's config; a sampler with ``takes_loader`` knows its batch size and workers."""
    if not getattr(_sampler_of(loader), "takes_loader", False):
        return loader
    sizes = dict(workers=loader.get("num_workers"), batch_size=loader.get("batch_size"))
    return dict(loader, sampler={**sizes, **loader["sampler"]})


def _sampler_of(loader: Any) -> Any:
    """Return the class of the sampler of a loader's config, None if it says none."""
    if not isinstance(loader, dict) or not isinstance(loader.get("sampler"), dict):
        return None
    kind = loader["sampler"].get("type")
    return DATA_SAMPLERS.get(kind) if isinstance(kind, str) else kind


def with_unlabelled(loader: Any) -> Any:
    """Return a loader's config whose dataset holds the images without labels, too, that ``unlabelled`` names.

    ``unlabelled`` is the config of a dataset, or what differs from that of the labelled one, whose fold is
    for its own split alone. Its pipeline is that of the labelled one unless it has its own, and an
    :class:`ImageFolderDataset` leaves out what the labelled one has annotated.

    Raises:
        ValueError: The labelled part is several data sets, and ``unlabelled`` does not name its own type.
    """
    if not isinstance(loader, dict) or "unlabelled" not in loader:
        return loader
    extra, labelled = dict(loader["unlabelled"]), loader["dataset"]
    rest = {key: value for key, value in loader.items() if key != "unlabelled"}
    leaves = leaf_configs(labelled)
    if "type" not in extra:
        if len(leaves) > 1:
            raise ValueError(f"unlabelled: the labelled data are {len(leaves)} data sets; name a type")
        other = extra.get("split", leaves[0].get("split")) != leaves[0].get("split")
        # Folds divide the labelled split. Of another one they would take the images of the tested fold.
        no_fold = _FOLD_KEYS if other and "fold" not in extra else ()
        extra = {key: value for key, value in leaves[0].items() if key not in no_fold} | extra
    kind = DATASETS.get(extra["type"]) if isinstance(extra["type"], str) else extra["type"]
    if issubclass(kind, ImageFolderDataset):
        extra.setdefault("labelled", labelled)
    for key in ("pipeline", "image_cache"):
        if key in leaves[0]:
            extra.setdefault(key, leaves[0][key])
    extra["unlabelled"] = True
    return dict(rest, dataset=dict(type="ConcatDataset", datasets=[labelled, extra]))
