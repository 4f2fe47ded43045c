"""What images look like at a few points: by SIFT, or by the embeddings of a trained detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmlandmark.datasets.image_io import LoadedImage, from_array, read_image, to_canonical
from mmlandmark.inference.case_loader import CaseDataset, Failure, load_batches, reason_of
from mmlandmark.inference.image_coverage import DescribedImage
from mmlandmark.inference.image_inputs import Case
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.models.heads import TemplateHead
from mmlandmark.models.model_file import ModelFile
from mmlandmark.models.similarity import cells_of, features_at
from mmlandmark.structures import apply_matrix, invert_matrix
from mmlandmark.visualization.style import to_rgb

SIFT_SIDE = 512  # pixels of the longer side of what SIFT sees
_BORDER = 0.05  # of a side: film edges and labels lie there
_APART = 0.02  # of the longer side, between two points
_CONTRAST = 0.01


def load_case(case: Case) -> LoadedImage:
    """Return the image of a case.

    Raises:
        OSError: It cannot be read, see :func:`~mmlandmark.datasets.image_io.read_image`.
        ValueError: Likewise.
    """
    if case.array is not None:
        return to_canonical(from_array(case.array, fill_value=0))
    return read_image(str(case.image), fill_value=0.0)


def describe_by_sift(cases: Sequence[Case], number: int) -> Iterator[DescribedImage | Failure]:
    """Yield the strongest SIFT points of every image (Lowe 2004), or why it has none.

    Images are compared at one size, and descriptors are upright, since images of one kind show the patient
    from one side; they are compared by their square roots (Arandjelovic and Zisserman 2012).

    Args:
        cases: Images.
        number: Points of an image at most.
    """
    for case in cases:
        try:
            image = load_case(case)
            if len(image.ori_shape) != 2:
                raise ValueError("it is a volume, which SIFT does not describe: give a model")
            yield _sift(case.sample_id, image, number)
        except (OSError, ValueError, ImportError) as error:
            yield Failure(case.sample_id, case.image, reason_of(error))


def _sift(name: str, image: LoadedImage, number: int) -> DescribedImage:
    grey = cv2.cvtColor(to_rgb(image.array, image.window), cv2.COLOR_RGB2GRAY)
    scale = SIFT_SIDE / max(grey.shape)
    size = [max(1, round(side * scale)) for side in grey.shape]
    small = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    sift = cv2.SIFT.create(contrastThreshold=_CONTRAST)
    points = _spread_out(sift.detect(small, None), size, number)
    if not points:
        raise ValueError("SIFT finds no point in it")
    for point in points:
        point.angle = 0.0
    kept, described = sift.compute(small, points)
    places = (np.array([point.pt for point in kept]) + 0.5) / size[::-1]
    vectors = np.sqrt(described / np.maximum(described.sum(1, keepdims=True), 1e-6))
    in_image = places * np.array(grey.shape[::-1]) - 0.5
    original = apply_matrix(invert_matrix(image.img_from_original), in_image)
    return DescribedImage(name, original, places, (vectors,))


def _spread_out(points: Sequence[cv2.KeyPoint], size: Sequence[int], number: int) -> list[cv2.KeyPoint]:
    """Return the strongest points that are apart from each other and from the border."""
    sides = np.array(size[::-1], dtype=float)
    kept: list[cv2.KeyPoint] = []
    taken = np.empty((0, 2))
    for point in sorted(points, key=lambda point: -point.response):
        place = np.array(point.pt)
        inside = ((place >= _BORDER * sides) & (place <= (1 - _BORDER) * sides)).all()
        if inside and (np.linalg.norm(taken - place, axis=1) >= _APART * max(size)).all():
            kept.append(point)
            taken = np.vstack([taken, place])
            if len(kept) == number:
                break
    return kept


def describe_by_model(
    model: ModelFile, cases: Sequence[Case], number: int, device: str = "cpu", batch_size: int = 4
) -> Iterator[DescribedImage | Failure]:
    """Yield the embeddings of every image's points with the steepest intensities, or why it has none.

    Args:
        model: A detector with templates, whether it has learnt any or not.
        cases: Images or volumes.
        number: Points of an image at most.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        batch_size: Images that the network sees at once.

    Raises:
        ValueError: The detector has no embeddings of pixels, or other ones for every landmark.
    """
    detector = model.detector(torch.device(device))
    if not isinstance(getattr(detector, "head", None), TemplateHead):
        raise ValueError(
            f"{model.name}: a {type(detector).__name__} has no embeddings of pixels: give a "
            "TemplateDetector, or none to compare by SIFT"
        )
    for item in load_batches(CaseDataset(cases, model.schema, model.transforms()), batch_size):
        yield from item.failed.values()
        if item.batch:
            batch = [dict(inputs=one.inputs, data_samples=one.sample) for one in item.batch]
            yield from _embedded(detector, batch, number)


def _embedded(detector: BaseDetector, batch: Sequence[dict], number: int) -> Iterator[DescribedImage]:
    data = detector.data_preprocessor(pseudo_collate(list(batch)), False)
    images = data["inputs"]
    with torch.inference_mode():
        levels = detector.extract_features(images)[:-1]
        if any(level.ndim != images.ndim for level in levels):
            raise ValueError(
                f"the embeddings of this {type(detector).__name__} depend on the landmark: give a detector "
                "with one embedding for all, or none to compare by SIFT"
            )
    for index, sample in enumerate(data["data_samples"]):
        size = tuple(sample.input_shape)
        inside = (slice(None), *map(slice, size))
        shown = images[index][inside].float().mean(0)
        points = steep_points(shown, number)
        vectors = []
        for level in levels:
            cells = cells_of(points[None], images.shape[2:], level.shape[2:])
            vectors.append(
                F.normalize(features_at(level[index, None], cells)[0].float(), dim=1).cpu().numpy()
            )
        original = apply_matrix(invert_matrix(sample.input_from_original), points.cpu().numpy().astype(float))
        places = (original + 0.5) / np.array(sample.ori_shape[::-1])
        yield DescribedImage(sample.sample_id, original, places, tuple(vectors))


def steep_points(image: Tensor, number: int) -> Tensor:
    """Return pixels where the intensity changes most, at most one in every cell of a regular grid.

    Args:
        image: (*S) intensities.
        number: Of points at most; half of the cells have none.

    Returns:
        (P, D) pixels, (x, y[, z]), steepest first.
    """
    dims = image.ndim
    slopes = torch.stack(torch.gradient(image)).norm(dim=0)
    for axis, side in enumerate(slopes.shape):
        edge = int(_BORDER * side) + 1
        slopes.narrow(axis, 0, edge).zero_()
        slopes.narrow(axis, side - edge, edge).zero_()
    cells = [min(side, max(1, round((2 * number) ** (1 / dims)))) for side in slopes.shape]
    pool = F.adaptive_max_pool2d if dims == 2 else F.adaptive_max_pool3d
    most, index = pool(slopes[None], cells, return_indices=True)
    order = most.flatten().argsort(descending=True, stable=True)[:number]
    chosen = index.flatten()[order[most.flatten()[order] > 0]]
    axes = torch.unravel_index(chosen, tuple(slopes.shape))
    return torch.stack(axes[::-1], -1)
