"""What became of the pseudo labels of a few landmarks from round to round, as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.pixel_checks import load_step
from mmlandmark.engine.label_rounds import LabelRound, read_labels
from mmlandmark.structures import apply_matrix

IMAGES, ROUNDS = 4, 4


def draw_labels(parts: Sequence[LandmarkDataset], folder: Path, epochs: Sequence[int]) -> Path | None:
    """Draw the landmarks that moved most, one of each of a few images, into ``labels.png``.

    Of a single round, different landmarks are drawn, masked ones and others in turn.

    Args:
        parts: The unlabelled data sets.
        folder: Of the files ``epoch_<N>.json``.
        epochs: N of all rounds. Of those whose files are there the first, the last and some between them are
            shown.

    Returns:
        The picture; None if no image has predictions of both the first and the last round.
    """
    from mmlandmark.visualization.label_figure import plot_labels  # it needs Matplotlib

    records = {}
    for part in parts:
        for index in range(len(part)):
            records[LandmarkDataset.get_data_info(part, index)["sample_id"]] = (part, index)
    files = [path for n in epochs if (path := folder / f"epoch_{n}.json").is_file()]
    if not files:
        return None
    some = np.unique(np.linspace(0, len(files) - 1, min(ROUNDS, len(files))).round().astype(int))
    rounds = [_round(files[n], list(records)) for n in some]
    rows: list[Mapping[str, Any]] = []
    order: Iterable[tuple[int, int]] = _most_moved(rounds) if len(rounds) > 1 else _in_turn(rounds[0])
    for n, k in order:
        if len(rows) == IMAGES:
            break
        row = _row(rounds, n, k, *records[rounds[0].ids[n]])
        if row is not None:
            rows.append(row)
    if not rows:
        return None
    titles = [f"after {made.epoch} epoch{'' if made.epoch == 1 else 's'}" for made in rounds]
    return plot_labels(rows, titles, folder / "labels.png")


def _round(path: Path, names: Sequence[str]) -> LabelRound:
    """Read a round; one that was labelled by batches may lack some images."""
    content = read_labels(path)
    there, landmarks = list(content["images"]), content["landmarks"]
    dims = len(next(iter(content["images"].values()))["points"][0])
    return LabelRound.read(path, there, (len(landmarks), dims)).among(names)


def _most_moved(rounds: Sequence[LabelRound]) -> list[tuple[int, int]]:
    """Return row and landmark of what moved between the first and the last round, most first, by image.

    Those that are learnt from at the end come before all others, most of which were never found.
    """
    moved = np.linalg.norm(rounds[-1].predicted - rounds[0].predicted, axis=2)
    far = np.nan_to_num(moved).max(initial=0) + 1
    moved = np.where(np.isfinite(moved), moved + far * rounds[-1].kept, -1.0)
    order = np.argsort(-moved.max(axis=1), kind="stable")
    return [(int(n), int(moved[n].argmax())) for n in order if moved[n].max() >= 0]


def _in_turn(made: LabelRound) -> Iterator[tuple[int, int]]:
    """Yield row and landmark of labels of different images: masked and kept ones, and landmarks, in turn."""
    there = np.isfinite(made.predicted).all(axis=2)
    free, shown = np.ones(len(there), dtype=bool), np.zeros(there.shape[1], dtype=int)
    while (there & free[:, None]).any():
        for wanted in (there & ~made.kept, there & made.kept):
            left = wanted & free[:, None]
            if left.any():
                landmarks = np.flatnonzero(left.any(axis=0))
                k = int(landmarks[shown[landmarks].argmin()])
                n = int(left[:, k].argmax())
                free[n], shown[k] = False, shown[k] + 1
                yield n, k


def _row(
    rounds: Sequence[LabelRound], n: int, k: int, part: LandmarkDataset, index: int
) -> Mapping[str, Any] | None:
    """Return what :func:`plot_labels` shows of a landmark; None if its image cannot be read any more."""
    from mmlandmark.visualization.planes import window_of  # Matplotlib stands behind it
    from mmlandmark.visualization.style import to_rgb

    record, load = part.get_data_info(index), load_step(part)
    hidden = record["hidden_landmarks"][k]
    try:
        results = load(dict(record, image_cache=part.image_cache))
    except (OSError, ValueError):
        return None  # that an image cannot be read has been said when it was to be labelled
    image, matrix, window = np.asarray(results["img"]), results["img_from_original"], results["value_range"]
    given = np.stack(
        [*(made.predicted[n, k] for made in rounds), *(made.points[n, k] for made in rounds), hidden]
    )
    points = apply_matrix(matrix, given.astype(np.float64))
    count = len(rounds)
    middle = next(p for p in (points[-1], points[count - 1]) if np.isfinite(p).all())
    if len(matrix) == 4:
        window = window_of(image)
        image = image[int(np.clip(round(middle[2]), 0, len(image) - 1))]
    return dict(
        name=f"{rounds[0].ids[n]}\n{part.schema.landmarks[k]}",
        image=to_rgb(image, window),
        predicted=points[:count, :2],
        labels=points[count:-1, :2],
        kept=[bool(made.kept[n, k]) for made in rounds],
        truth=points[-1, :2],
    )
