"""Samplers that set the pass of the data, so that every pass has new random draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dataset import sampler

from mmlandmark.datasets.dataset_wrappers import RepeatDataset, set_epoch
from mmlandmark.registry import DATA_SAMPLERS, DATASETS


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

    def _infinite_indices(self) -> Iterator[int]:
        for position, index in enumerate(super()._infinite_indices()):
            yield index + position // self.size * self.size


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
    """Return a loader's config; its dataset is wrapped if its sampler is endless."""
    if not isinstance(loader, dict) or not isinstance(loader.get("sampler"), dict):
        return loader
    kind = loader["sampler"].get("type")
    kind = DATA_SAMPLERS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(kind, type) or not issubclass(kind, InfiniteSampler):
        return loader
    return dict(loader, dataset=dict(type=EndlessDataset, dataset=loader["dataset"]))
