"""Which images to annotate: ranking, choice and contact sheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmlandmark.apis.annotated_data import dataset_of
from mmlandmark.inference.case_loader import Failure
from mmlandmark.inference.image_coverage import Choice, DescribedImage, choose_images, found_again
from mmlandmark.inference.image_descriptions import describe_by_model, describe_by_sift, load_case
from mmlandmark.inference.image_inputs import Case, find_cases
from mmlandmark.inference.loading import load_model
from mmlandmark.structures import apply_matrix, resize_matrix, world_from_image
from mmlandmark.utils.files import atomic_write_text
from mmlandmark.utils.near_names import did_you_mean
from mmlandmark.utils.progress import Progress
from mmlandmark.utils.table_text import csv_text
from mmlandmark.visualization import VolumePicture, draw_landmarks, save_image
from mmlandmark.visualization.sheets import contact_sheet
from mmlandmark.visualization.style import YELLOW, to_rgb

REACH = 0.15  # of the sides: how far SIFT points of the same place may lie apart
RANKING, IDS, SHEET = "ranking.csv", "chosen.txt", "sheet.png"


@dataclass(frozen=True)
class TemplateChoice:
    """Images to annotate, of many.

    Attributes:
        cases: Images that were compared.
        images: Their points.
        choice: What was chosen of them.
        failures: Images that could not be read.
        method: What images were compared by, in words.
    """

    cases: list[Case]
    images: list[DescribedImage]
    choice: Choice
    failures: list[Failure]
    method: str

    @property
    def ranking(self) -> list[int]:
        """Indices of all images, the one that is the best template by itself first."""
        return np.argsort(-self.choice.alone, kind="stable").tolist()

    @property
    def least_covered(self) -> list[int]:
        """Indices of the images that are not chosen, the one that is least like the chosen ones first."""
        order = np.argsort(self.choice.of_images, kind="stable").tolist()
        return [index for index in order if index not in self.choice.chosen]


def image_cases(inputs: Sequence[str | Path]) -> list[Case]:
    """Return the images of files, folders and patterns, or the training images of one config.

    Raises:
        FileNotFoundError: An input does not exist.
        ConfigError: The config has no training data.
    """
    if len(inputs) != 1 or Path(inputs[0]).suffix != ".py":
        return find_cases([str(item) for item in inputs])
    dataset = dataset_of(None, inputs[0], "train_dataloader")
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    return [Case(str(r["sample_id"]), r.get("img_path"), r.get("img")) for r in records]


def choose_templates(
    inputs: Sequence[str | Path],
    number: int = 1,
    annotated: Sequence[str] = (),
    model: str | Path | None = None,
    points: int = 200,
    limit: int = 300,
    device: str = "cpu",
    show_progress: bool = False,
) -> TemplateChoice:
    """Choose the images that show most of what all of them show.

    Args:
        inputs: As :func:`image_cases` takes them.
        number: Of templates, with those that are annotated.
        annotated: Ids of images that are templates already; others are chosen for what they do not show.
        model: A detector with templates, see :func:`~mmlandmark.inference.loading.load_model`, by whose
            embeddings images are compared; None compares by SIFT.
        points: Of every image at most.
        limit: Images that are compared at most, spread over all.
        device: Of the model.
        show_progress: On standard error, while images are read.

    Raises:
        ValueError: Too few images can be read, or one of ``annotated`` is not among them.
    """
    cases = _limited(image_cases(inputs), limit, annotated)
    results: Iterable[DescribedImage | Failure]
    if model is None:
        results, method, reach = describe_by_sift(cases, points), "SIFT", REACH
    else:
        results, method, reach = describe_by_model(load_model(model), cases, points, device), str(model), None
    described: dict[str, DescribedImage] = {}
    failures: list[Failure] = []
    with Progress(len(cases)) if show_progress else nullcontext() as bar:
        for result in results:
            if isinstance(result, Failure):
                failures.append(result)
            else:
                described[result.sample_id] = result
            if bar is not None:
                bar.advance(1)
    left = [case for case in cases if case.sample_id in described]
    if len(left) <= number:
        first = f", first {failures[0].sample_id!r}: {failures[0].reason}" if failures else ""
        raise ValueError(
            f"{len(left)} of {len(cases)} images can be compared{first}; to choose {number} takes more"
        )
    images, names = [described[case.sample_id] for case in left], [case.sample_id for case in left]
    missing = [name for name in annotated if name not in names]
    if missing:
        raise ValueError(
            f"annotated: there is no readable image {missing[0]!r}{did_you_mean(missing[:1], names)}"
        )
    given = [names.index(name) for name in annotated]
    choice = choose_images(*found_again(images, reach), number, given)
    return TemplateChoice(left, images, choice, failures, method)


def _limited(cases: list[Case], limit: int, annotated: Sequence[str]) -> list[Case]:
    """Return at most so many cases, spread over all, but those that are annotated in any case."""
    if len(cases) <= limit:
        return cases
    spread = {index * len(cases) // limit for index in range(limit)}
    return [case for index, case in enumerate(cases) if index in spread or case.sample_id in annotated]


def write_choice(found: TemplateChoice, folder: str | Path, side: int = 320) -> list[Path]:
    """Write ranking, ids of the chosen images and contact sheet into a folder.

    Args:
        found: The choice.
        folder: Is made if it does not exist.
        side: Longer side of a picture in pixels.
    """
    folder, names = Path(folder), [case.sample_id for case in found.cases]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["rank", "image", "coverage", "chosen", "found_in_chosen"])
    for rank, index in enumerate(found.ranking, 1):
        place = str(found.choice.chosen.index(index) + 1) if index in found.choice.chosen else ""
        like = found.choice.of_images[index]
        row = [f"{found.choice.alone[index]:.4f}", place, "" if np.isnan(like) else f"{like:.4f}"]
        writer.writerow([rank, csv_text(names[index]), *row])
    paths = [folder / name for name in (RANKING, IDS, SHEET)]
    atomic_write_text(paths[0], stream.getvalue())
    atomic_write_text(paths[1], "".join(f"{names[index]}\n" for index in found.choice.chosen))
    save_image(draw_choice(found, side), paths[2])
    return paths


def draw_choice(found: TemplateChoice, side: int = 320, columns: int = 4) -> np.ndarray:
    """Return the chosen images, and in a row of their own those that are least like them, (H, W, 3) uint8."""
    chosen = [
        _picture(
            found, index, f"template {place}: {found.cases[index].sample_id}, coverage {value:.3f}", side
        )
        for place, (index, value) in enumerate(
            zip(found.choice.chosen, found.choice.coverage, strict=True), 1
        )
    ]
    least = [
        _picture(
            found,
            index,
            f"least like: {found.cases[index].sample_id}, {found.choice.of_images[index]:.3f}",
            side,
        )
        for index in found.least_covered[:columns]
    ]
    return contact_sheet([contact_sheet(row, columns) for row in (chosen, least)], 1)


def _picture(found: TemplateChoice, index: int, caption: str, side: int) -> np.ndarray:
    """Return an image with dots at its points, or the three views of a volume."""
    image = load_case(found.cases[index])
    if len(image.ori_shape) == 3:
        world = world_from_image(image.world_from_original, image.img_from_original)
        array = image.array if image.array.ndim == 3 else image.array.mean(-1)
        volume = VolumePicture(array, world_from_volume=world, window=image.window)
        return volume.captioned(volume.views(None, long_side=side), caption)
    shown = to_rgb(image.array, image.window)
    size = [max(1, round(length * side / max(shown.shape[:2]))) for length in shown.shape[:2]]
    shown = cv2.resize(shown, size[::-1], interpolation=cv2.INTER_AREA)
    in_array = apply_matrix(image.img_from_original, found.images[index].points)
    points = apply_matrix(resize_matrix(image.array.shape[:2], size), in_array)
    for x, y in np.rint(points).astype(int):
        cv2.circle(shown, (int(x), int(y)), 2, YELLOW, -1, cv2.LINE_AA)
    return draw_landmarks(shown, caption=caption)
