"""Cases through the transforms of a model, in worker processes, to batches of one size in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.readers.loaded_image import spatial_shape
from mmlandmark.datasets.shards import ShardError
from mmlandmark.inference.image_inputs import Case
from mmlandmark.structures import LandmarkDataSample, LandmarkSchema

Transforms: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
_AHEAD = 4  # batches' worth of cases that are gathered by their sizes at a time


@dataclass(frozen=True)
class Failure:
    """An image that could not be predicted.

    Attributes:
        sample_id: Its name.
        image: Its file; None for an array.
        reason: One sentence.
    """

    sample_id: str
    image: str | None
    reason: str


class Unavailable(Failure):
    """An image that could not be fetched: nothing is known about the image itself."""


@dataclass(frozen=True)
class Loaded:
    """A case as the network takes it.

    Attributes:
        index: Position among the cases.
        inputs: (C, *S), see :meth:`LandmarkDataSample.unit_pixels`.
        sample: Frames and names, without annotations.
    """

    index: int
    inputs: Tensor
    sample: LandmarkDataSample


@dataclass(frozen=True)
class Gathered:
    """What the network should see next, or what it cannot see.

    Attributes:
        batch: Cases of one size; empty for a failure.
        failed: A failure by the index of its case; empty for a batch.
        settled: No case that was loaded waits any more. What comes next does not depend on what came before.
    """

    batch: list[Loaded]
    failed: dict[int, Failure]
    settled: bool


class CaseDataset(Dataset):
    """Cases after the transforms; a case that fails is a value, so that the others go on.

    Args:
        cases: What to load.
        schema: The landmarks that will be predicted.
        transforms: From a record with an image to ``inputs`` and ``data_samples``, see
            :meth:`ModelFile.transforms <mmlandmark.models.model_file.ModelFile.transforms>`.
        spacing: (D,) mm per pixel of all images, in place of what their files say.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        schema: LandmarkSchema,
        transforms: Transforms,
        spacing: tuple[float, ...] | None = None,
    ) -> None:
        self.cases, self.schema, self.transforms, self.spacing = cases, schema, transforms, spacing

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[int, Loaded | Failure]:
        """Return the index again, and the case or why it failed."""
        case = self.cases[index]
        spacing = case.spacing if self.spacing is None else self.spacing
        record: dict[str, Any] = dict(sample_id=case.sample_id, img_path=case.image, spacing=spacing)
        if case.array is not None:
            record["img"] = case.array
        if case.source is not None:
            record["image_source"] = case.source
        kind = Failure
        try:
            packed = self.transforms(record)
            wrong = self._other_kind(packed["data_samples"].ori_shape)
        except Exception as error:  # whatever a reader or a transform raises, it is about this image
            wrong = self._other_kind(_shape_of(case)) or reason_of(error)
            if case.source is not None and isinstance(error, ShardError | OSError):
                kind = Unavailable
        if wrong:
            return index, kind(case.sample_id, case.image, wrong)
        return index, Loaded(index, packed["inputs"], packed["data_samples"])

    def _other_kind(self, shape: tuple[int, ...] | None) -> str:
        """Return what is wrong with an image of other dimensions than the model's; empty for others."""
        kinds = {2: ("an image", "images"), 3: ("a volume", "volumes")}
        if shape is None or len(shape) == self.schema.dims:
            return ""
        wanted = kinds[self.schema.dims][1]
        return f"it is {kinds[len(shape)][0]} of shape {shape}, but the model takes {wanted}"


def _shape_of(case: Case) -> tuple[int, ...] | None:
    """Return the (*S) of an image, None if it cannot be read."""
    try:
        if case.array is not None:
            return spatial_shape(case.array.shape)
        return None if case.image is None else image_shape(case.image)
    except (OSError, ValueError, ImportError):
        return None


def reason_of(error: Exception) -> str:
    """Return an error as one sentence without line breaks."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    known = isinstance(error, ValueError | OSError | ImportError) and text
    return " ".join((text if known else f"{type(error).__name__}: {text}").split())


def load_batches(dataset: CaseDataset, batch_size: int, num_workers: int = 0) -> Iterator[Gathered]:
    """Yield batches of inputs of one size, and failures, nearly in the order of the cases.

    Where sizes differ, several batches are gathered at once. Once four batches' worth of cases were loaded,
    all that wait become batches, so memory does not grow with their number. Whoever begins anew with the
    case after a settled one gets the very same batches, as long as the cases are the same.

    Args:
        dataset: What to load.
        batch_size: Largest batch.
        num_workers: Processes that load; 0 loads in this one.

    Raises:
        ValueError: A worker process died.
    """
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=2 if num_workers else None,
    )
    try:
        yield from _gathered(_started(loader) if num_workers else loader, batch_size)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ValueError(
            f"a process that loads images died ({' '.join(str(error).split())}): run again with 0 workers, "
            "which shows the image that it died of"
        ) from error


def _gathered(items: Iterable[tuple[int, Loaded | Failure]], batch_size: int) -> Iterator[Gathered]:
    waiting: dict[tuple[int, ...], list[Loaded]] = {}
    begin = 0  # all cases before this one are settled
    for index, item in items:
        if isinstance(item, Failure):
            yield Gathered([], {index: item}, not waiting)
        else:
            shape = tuple(item.inputs.shape)
            waiting.setdefault(shape, []).append(item)
            if len(waiting[shape]) == batch_size:
                batch = waiting.pop(shape)
                yield Gathered(batch, {}, not waiting)
        if index + 1 - begin >= _AHEAD * batch_size:
            yield from _rest(waiting)
        if not waiting:
            begin = index + 1
    yield from _rest(waiting)


def _rest(waiting: dict[tuple[int, ...], list[Loaded]]) -> Iterator[Gathered]:
    """Yield all that wait; the size that came first is first."""
    while waiting:
        batch = waiting.pop(next(iter(waiting)))
        yield Gathered(batch, {}, not waiting)


def _started(loader: DataLoader) -> Iterator[tuple[int, Loaded | Failure]]:
    """Start the workers with one thread of OpenCV each, which leaves the processors to the network.

    It is set before they are forked: in a fork, OpenCV would wait for threads that only this process has.
    """
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return iter(loader)
    finally:
        cv2.setNumThreads(threads)
