"""Validation of dataset records, before training starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlandmark.datasets.frame_fit import count_outside, likely_reading, misfit, to_pixels, unstated_frame
from mmlandmark.datasets.image_files import image_exists, image_header, image_shape
from mmlandmark.datasets.predicted import chosen_predicted
from mmlandmark.datasets.values import entries_of, is_number, number_of, sample_id_of
from mmlandmark.structures import LandmarkSchema, world_matrix

# A landmark further outside than this fraction of the image side is an error of units or frame, not an
# annotation at the border. Nearer ones are left to mmlandmark check.
FAR_OUTSIDE = 0.5


def describe(record: dict[str, Any]) -> str:
    """Return the name of a record for messages: its source and its id."""
    source = record.get("source")
    return f"{source}: sample {record['sample_id']!r}" if source else f"sample {record['sample_id']!r}"


def checked_spacing(value: float | Sequence[float] | None, dims: int, where: str) -> tuple[float, ...] | None:
    """Return ``value`` as (D,) mm per pixel, (x, y[, z]); a single number applies to all axes.

    Raises:
        ValueError: Not one or D positive finite numbers; ``where`` is named.
    """
    if value is None:
        return None
    given = entries_of(value)
    if not all(is_number(number) for number in given):
        raise ValueError(f"{where}: spacing {value!r:.80} is not a number or a list of numbers")
    numbers = np.array([number_of(number, where, "spacing") for number in given])
    if numbers.shape == (1,):
        numbers = np.repeat(numbers, dims)
    if numbers.shape != (dims,) or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(
            f"{where}: spacing must be one or {dims} positive numbers (mm per pixel), got {value!r:.80}; "
            "leave it out if it is unknown"
        )
    return tuple(float(n) for n in numbers)


def checked_points(value: Any, schema: LandmarkSchema, where: str) -> np.ndarray:
    """Return ``value`` as (K, D) float32 landmarks in pixels; None means that no landmark is annotated.

    Raises:
        ValueError: The number of landmarks or axes is not the schema's, a point is infinite, or only
            some axes of a point are given.
    """
    count, dims = len(schema), schema.dims
    if value is None:
        return np.full((count, dims), np.nan, dtype=np.float32)
    try:
        with np.errstate(over="ignore"):  # values that are too large become infinite, which is refused below
            points = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: landmarks are not ({count}, {dims}) numbers: {error}") from error
    if points.ndim != 2 or points.shape[1] != dims:
        flat = points.ndim == 2 and points.shape[1] in (2, 3)
        cure = f'; write "dims": {points.shape[1]} in the schema, if they are right' if flat else ""
        raise ValueError(
            f"{where}: landmarks must be ({count}, {dims}) for schema {schema.name!r}, got "
            f"{points.shape}{cure}"
        )
    if len(points) != count:
        raise ValueError(
            f"{where}: {len(points)} landmarks, but schema {schema.name!r} has {count}; "
            "write missing ones as null (JSON) or as empty cells (CSV)"
        )
    if np.isinf(points).any():
        index = int(np.isinf(points).any(axis=1).argmax())
        raise ValueError(
            f"{where}: landmark {index} ({schema.landmarks[index]}) is infinite: {points[index]}"
        )
    partly = np.isnan(points).any(axis=1) & ~np.isnan(points).all(axis=1)
    if partly.any():
        index = int(partly.argmax())
        raise ValueError(
            f"{where}: landmark {index} ({schema.landmarks[index]}) has only some of its coordinates: "
            f"{points[index]}"
        )
    return points


def consensus_fields(by_annotator: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the record fields for the (K, D) points of each annotator.

    The points of a single annotator are the landmarks. Of several, the landmarks are the unrounded mean, and
    missing where any of them marked nothing: annotators differ systematically, so a mean over some of them is
    another place.
    """
    points = np.stack(by_annotator).astype(np.float64)
    return (
        dict(landmarks=points[0]) if len(points) == 1 else dict(landmarks=points.mean(0), by_annotator=points)
    )


def complete_record(
    record: dict[str, Any], schema: LandmarkSchema, default_spacing: float | Sequence[float] | None = None
) -> dict[str, Any]:
    """Return the record with every field in its documented type and shape.

    Args:
        record: ``sample_id``, ``img_path``, ``landmarks`` and optional fields, as a reader made them.
        schema: The schema the landmarks must follow.
        default_spacing: mm per pixel of records without one.

    Raises:
        ValueError: A field is not valid; the message names source and id of the record.
    """
    where = describe(record)
    by_annotator, points = record.get("by_annotator"), record.get("landmarks")
    points = checked_points(points, schema, where)
    spacing = record.get("spacing")
    whole = dict(
        record,
        sample_id=str(record["sample_id"]),
        img_path=record.get("img_path"),
        landmarks=points,
        spacing=checked_spacing(default_spacing if spacing is None else spacing, schema.dims, where),
        group=None if record.get("group") is None else str(record["group"]),
    )
    whole.pop("by_annotator", None)
    if by_annotator is not None:
        whole["by_annotator"] = np.stack([checked_points(one, schema, where) for one in by_annotator])
    for key, dtype in (("visibility", np.int8), ("weights", np.float32)):
        if whole.get(key) is None:
            whole.pop(key, None)
        else:
            whole[key] = _per_landmark(whole[key], key, len(schema), where).astype(dtype)
    if whole.get("ori_shape") is not None:
        check_frame(whole["landmarks"], whole["ori_shape"], where, whole["img_path"])
    return whole


def numbered_schema(records: Sequence[dict[str, Any]]) -> LandmarkSchema:
    """Return a schema of numbered landmarks, as many as the first annotated record has.

    Raises:
        ValueError: No record is annotated, or its landmarks are not (K, D).
    """
    for record in records:
        if record.get("landmarks") is not None:
            points = np.asarray(record["landmarks"])
            if points.ndim != 2:
                raise ValueError(f"{describe(record)}: landmarks must be (K, D), got shape {points.shape}")
            return LandmarkSchema.numbered(*points.shape)
    raise ValueError("no record has landmarks; give schema=..., which says how many there are")


def chosen_landmarks(record: dict[str, Any], chosen: Sequence[int]) -> dict[str, Any]:
    """Return the fields per landmark of a complete record, for some of the landmarks."""
    fields = {"landmarks": 0, "by_annotator": 1, "visibility": 0, "weights": 0}
    narrow = {key: record[key].take(chosen, axis) for key, axis in fields.items() if key in record}
    if "predicted" in record:
        narrow["predicted"] = chosen_predicted(record["predicted"], chosen)
    return narrow


def _per_landmark(value: Any, key: str, count: int, where: str) -> np.ndarray:
    """Return ``visibility`` or ``weights`` as (K,) float64."""
    if not isinstance(value, list | tuple | np.ndarray):
        raise ValueError(f"{where}: {key} must have {count} entries, got {value!r:.80}")
    if len(entries_of(value)) != count:
        raise ValueError(f"{where}: {key} must have {count} entries, got {len(entries_of(value))}")
    if key == "visibility":  # where true is 1, annotated
        value = [int(entry) if isinstance(entry, bool | np.bool_) else entry for entry in value]
    numbers = np.array([number_of(entry, where, key) for entry in value])
    if key == "visibility" and not set(numbers) <= {-1, 0, 1}:
        raise ValueError(f"{where}: visibility must be 1 (annotated), 0 (not annotated) or -1 (absent)")
    if key == "weights" and not (np.isfinite(numbers) & (numbers >= 0)).all():
        raise ValueError(f"{where}: weights must be finite and not negative")
    return numbers


def check_frame(points: np.ndarray, shape: Sequence[int], where: str, image: str | None = None) -> None:
    """Raise ValueError if a landmark is far outside of its image, or most of them fit it as something else.

    Args:
        points: (K, D) pixels, NaN where missing.
        shape: (*S) of the image.
        where: Name of the record, for the message.
        image: The file, whose frame tells whether the numbers are mm.
    """
    sides = np.asarray(shape[::-1], dtype=np.float64)
    if sides.shape != (points.shape[1],) or not (sides > 0).all():
        depth = ", and 'depth' with 'width' and 'height'" if points.shape[1] == 3 and len(sides) == 2 else ""
        raise ValueError(
            f"{where}: image size {tuple(shape)} does not fit {points.shape[1]}D landmarks; a point has as "
            f"many coordinates as its image has axes{depth}"
        )
    far = (points < -FAR_OUTSIDE * sides) | (points > (1 + FAR_OUTSIDE) * sides)  # NaN compares as False
    points = np.asarray(points, dtype=np.float64)
    outside = count_outside(points, shape)
    # One or two points may lie beside a picture, and by chance inside of it in another reading.
    by_chance = outside <= 2 and len(sides) == 2 and not far.any()
    most = not by_chance and outside > np.isfinite(points).all(axis=1).sum() / 2
    if most and (likely := likely_reading(points, shape, _frame_of(image), "pixels")):
        raise ValueError(f"{where}: most landmarks lie outside of the image{likely}")
    if far.any():
        index = int(far.any(axis=1).argmax())
        raise ValueError(
            f"{where}: landmark {index} at {points[index].tolist()} is far outside the image of size "
            f"{tuple(int(s) for s in sides)} (width, height[, depth]); check units and order of coordinates"
        )


def _frame_of(image: str | None) -> np.ndarray | None:
    """Return the frame of an image; None if it has none, does not exist or cannot be read."""
    if image is None or not image_exists(image):
        return None
    try:
        return image_header(image).world_from_original
    except (ValueError, ImportError):
        return None  # what is wrong with the image is said when it is loaded


def with_header(record: dict[str, Any], default_spacing: Any = None) -> dict[str, Any]:
    """Return the record of a volume with the size and, if it has none, the spacing of its file's header.

    A file whose header cannot be read leaves the record as it is: the error comes when it is loaded.
    """
    path = record.get("img_path")
    if path is None or not image_exists(path):
        return record
    try:
        header = image_header(path)
    except (ValueError, ImportError):
        return record
    whole = dict(record)
    whole.setdefault("ori_shape", header.shape)
    if record.get("spacing") is None and default_spacing is None and len(header.shape) == 3:
        whole["spacing"] = header.spacing
    return whole


def in_pixels(record: dict[str, Any], default_spacing: Any = None) -> dict[str, Any]:
    """Return a record with its points in pixels, from one whose ``in_world`` says that they are mm.

    Args:
        record: Other records are returned as they are.
        default_spacing: mm per pixel of an image whose file does not say it.

    Raises:
        ValueError: The image does not exist or has no frame, or most points lie outside of it.
    """
    coordinates = record.get("in_world", "pixels")
    record = {key: value for key, value in record.items() if key != "in_world"}
    if coordinates == "pixels" or record.get("landmarks") is None:
        return record
    where, path = describe(record), record.get("img_path")
    if path is None or not image_exists(path):
        raise ValueError(f"{where}: points in mm need the frame of their image, and {path!r} does not exist")
    header = image_header(path)
    frame, spacing = header.world_from_original, record.get("spacing", default_spacing)
    if frame is None and spacing is not None and len(header.shape) == 2:
        frame = world_matrix(checked_spacing(spacing, 2, where) or ())
    moved = dict(record)
    for key in ("landmarks", "by_annotator"):
        if record.get(key) is None:
            continue
        points = np.asarray(record[key], dtype=np.float64)
        flat = points.reshape(-1, points.shape[-1])
        try:
            wrong = misfit(flat, header.shape, frame, coordinates)
            pixels = to_pixels(flat, frame, coordinates)[:, : len(header.shape)]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if wrong:
            raise ValueError(f"{where}: {wrong}{unstated_frame(path, header.assumed)}")
        moved[key] = pixels.reshape(*points.shape[:-1], -1)
    return moved


def check_ids(records: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError if two records share a ``sample_id``, or one is not a valid name."""
    first: dict[str, dict[str, Any]] = {}
    for record in records:
        sample_id_of(record["sample_id"], str(record.get("source") or "a record"))
        other = first.setdefault(str(record["sample_id"]), record)
        if other is not record:
            raise ValueError(
                f"duplicate sample id: {describe(other)} and {describe(record)}; ids must be unique"
            )


def turned_y(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with y counted from the top, H - 1 - y, from one with y = 0 at the bottom row's centre.

    Raises:
        ValueError: The height is unknown: neither the record nor an image provides it.
    """
    path = record.get("img_path")
    if record.get("ori_shape") is None:
        if path is None or not image_exists(path):
            raise ValueError(
                f"{describe(record)}: y_up counts from the image's bottom, so it needs the image, or its "
                f"width and height in the annotation; {path!r} does not exist"
            )
        record = dict(record, ori_shape=image_shape(path))
    turned = dict(record)
    for key in ("landmarks", "by_annotator"):
        if record.get(key) is not None:
            points = np.array(record[key], dtype=np.float64)
            if points.shape[-1] not in (2, 3):
                raise ValueError(
                    f"{describe(record)}: points of {points.shape[-1:]} coordinates have no y to turn"
                )
            points[..., 1] = record["ori_shape"][-2] - 1 - points[..., 1]
            turned[key] = points
    return turned
