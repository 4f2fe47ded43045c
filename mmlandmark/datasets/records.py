"""What a dataset record must hold, checked before training starts."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.table_files import legacy_text
from mmlandmark.datasets.values import entries_of, is_number, number_of, sample_id_of
from mmlandmark.structures import LandmarkSchema
from mmlandmark.utils.shipped import shipped_file

# A landmark further outside than this fraction of the image side is a mistake of units or of frame, not
# an annotation at the border. Nearer ones are left to tools/check_dataset.py.
FAR_OUTSIDE = 0.5


def describe(record: dict[str, Any]) -> str:
    """Return the name of a record for messages: its id and the place it was read from."""
    source = record.get("source")
    return f"{source}: sample {record['sample_id']!r}" if source else f"sample {record['sample_id']!r}"


def spacing_of(value: float | Sequence[float] | None, dims: int, where: str) -> tuple[float, ...] | None:
    """Return ``value`` as (D,) mm per pixel, (x, y[, z]); a single number holds for all axes.

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
            "leave it out where it is not known"
        )
    return tuple(float(n) for n in numbers)


def points_of(value: Any, schema: LandmarkSchema, where: str) -> np.ndarray:
    """Return ``value`` as (K, D) float32 landmarks in pixels; None means that none is annotated.

    Raises:
        ValueError: The number of landmarks or axes is not the schema's, a point is infinite, or only
            some axes of a point are given.
    """
    count, dims = len(schema), schema.dims
    if value is None:
        return np.full((count, dims), np.nan, dtype=np.float32)
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
            points = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: landmarks are no ({count}, {dims}) numbers: {error}") from error
    if points.ndim != 2 or points.shape[1] != dims:
        raise ValueError(
            f"{where}: landmarks must be ({count}, {dims}) for schema {schema.name!r}, got {points.shape}"
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


def marked(readings: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the record fields of what one or several annotators marked, each (K, D).

    One annotator's points are the landmarks. Of several the landmarks are the unrounded mean, missing where
    any annotator marked nothing: annotators differ by habit, and a mean over some of them is another place.
    """
    points = np.stack(readings).astype(np.float64)
    return (
        dict(landmarks=points[0]) if len(points) == 1 else dict(landmarks=points.mean(0), by_annotator=points)
    )


def complete_record(
    record: dict[str, Any], schema: LandmarkSchema, default_spacing: float | Sequence[float] | None = None
) -> dict[str, Any]:
    """Return the record with every field of its documented type and shape, or say what is wrong with it.

    Args:
        record: ``sample_id``, ``img_path``, ``landmarks`` and optional fields, as a reader made them.
        schema: The schema the landmarks must follow.
        default_spacing: mm per pixel of records that bring none.

    Raises:
        ValueError: A field does not fit; the record's source and id are named.
    """
    where = describe(record)
    readings, points = record.get("by_annotator"), record.get("landmarks")
    points = points_of(points, schema, where)
    spacing = record.get("spacing")
    whole = dict(
        record,
        sample_id=str(record["sample_id"]),
        img_path=record.get("img_path"),
        landmarks=points,
        spacing=spacing_of(default_spacing if spacing is None else spacing, schema.dims, where),
        group=None if record.get("group") is None else str(record["group"]),
    )
    whole.pop("by_annotator", None)
    if readings is not None:
        whole["by_annotator"] = np.stack([points_of(reading, schema, where) for reading in readings])
    for key, dtype in (("visibility", np.int8), ("weights", np.float32)):
        if whole.get(key) is None:
            whole.pop(key, None)
        else:
            whole[key] = _per_landmark(whole[key], key, len(schema), where).astype(dtype)
    if whole.get("ori_shape") is not None:
        check_frame(whole["landmarks"], whole["ori_shape"], where)
    return whole


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


def check_frame(points: np.ndarray, shape: Sequence[int], where: str) -> None:
    """Raise ValueError if a landmark lies far outside of its image.

    Args:
        points: (K, D) pixels, NaN where missing.
        shape: (*S) of the image.
        where: Name of the record for the message.
    """
    sides = np.asarray(shape[::-1], dtype=np.float64)
    if sides.shape != (points.shape[1],) or not (sides > 0).all():
        raise ValueError(f"{where}: image size {tuple(shape)} does not fit {points.shape[1]}D landmarks")
    far = (points < -FAR_OUTSIDE * sides) | (points > (1 + FAR_OUTSIDE) * sides)  # NaN compares as False
    if far.any():
        index = int(far.any(axis=1).argmax())
        raise ValueError(
            f"{where}: landmark {index} at {points[index].tolist()} lies far outside the image of size "
            f"{tuple(int(s) for s in sides)} (width, height[, depth]); check units and order of coordinates"
        )


def check_ids(records: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError when two records share a ``sample_id``, naming both places, or one is no name."""
    first: dict[str, dict[str, Any]] = {}
    for record in records:
        sample_id_of(record["sample_id"], str(record.get("source") or "a record"))
        other = first.setdefault(str(record["sample_id"]), record)
        if other is not record:
            raise ValueError(
                f"duplicate sample id: {describe(other)} and {describe(record)}; ids must be unique"
            )


def deal_folds(records: Sequence[dict[str, Any]], num_folds: int, seed: int = 0) -> None:
    """Set ``fold`` of every record, 0 to ``num_folds`` - 1, so that a group lies in one fold.

    The folds depend on ids, groups and the seed alone, and are of nearly equal size.

    Raises:
        ValueError: There are fewer groups than folds.
    """
    groups = _grouped(records)
    if not 2 <= num_folds <= len(groups):
        raise ValueError(
            f"num_folds must be between 2 and the number of groups, {len(groups)}, got {num_folds}"
        )
    sizes = [0] * num_folds
    for name in _shuffled(groups, seed):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(groups[name])
        for record in groups[name]:
            record["fold"] = fold


def deal_parts(
    records: Sequence[dict[str, Any]], shares: Mapping[str, float], seed: int = 0
) -> dict[str, list[str]]:
    """Return the sample ids of parts in given proportions, so that a group lies in one part.

    The parts depend on ids, groups and the seed alone. Without groups of several records their sizes are the
    shares, rounded by largest remainders.

    Args:
        records: With ``sample_id`` and ``group``.
        shares: Name of the part -> share, in any unit.
        seed: Of the shuffle.

    Raises:
        ValueError: A share is not positive, or a part would be empty.
    """
    numbers = all(isinstance(share, int | float) and share > 0 for share in shares.values())
    if not shares or not numbers:
        raise ValueError(f"every part needs a positive share, got {dict(shares)}")
    groups, total = _grouped(records), sum(shares.values())
    exact = {name: len(records) * share / total for name, share in shares.items()}
    wanted = {name: int(size) for name, size in exact.items()}
    by_remainder = sorted(exact, key=lambda name: wanted[name] - exact[name])
    for name in by_remainder[: len(records) - sum(wanted.values())]:
        wanted[name] += 1
    parts: dict[str, list[str]] = {name: [] for name in shares}
    for group in _shuffled(groups, seed):
        part = max(parts, key=lambda name: wanted[name] - len(parts[name]))
        parts[part] += [str(record["sample_id"]) for record in groups[group]]
    empty = [name for name, ids in parts.items() if not ids]
    if empty:
        raise ValueError(f"{len(groups)} groups are too few for parts of {dict(shares)}: {empty} are empty")
    return {name: sorted(ids) for name, ids in parts.items()}


def _grouped(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        group = record.get("group")
        groups.setdefault(str(record["sample_id"] if group is None else group), []).append(record)
    return groups


def _shuffled(groups: Mapping[str, list], seed: int) -> list[str]:
    """Return the names of groups, large ones first, shuffled among those of one size."""
    names = sorted(groups)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda name: -len(groups[name]))
    return names


def name_groups(records: Sequence[dict[str, Any]], pattern: str) -> None:
    """Set ``group`` of records that have none to what a regular expression finds at the start of their id.

    Raises:
        ValueError: The pattern is no regular expression, or finds nothing in an id.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group_pattern {pattern!r} is no regular expression: {error}") from error
    for record in records:
        if record.get("group") is None:
            found = expression.match(str(record["sample_id"]))
            name = found and found[1 if expression.groups else 0]
            if not name:
                raise ValueError(f"{describe(record)}: group_pattern {pattern!r} finds no patient in its id")
            record["group"] = name


def published_folds(folder: Path) -> list[str]:
    """Return the names of the folds in a folder: what follows ``set`` in the names of its folders.

    Raises:
        FileNotFoundError: There are none.
    """
    names = [p.name.removeprefix("set") for p in folder.glob("set*") if p.is_dir()]
    if not names:
        raise FileNotFoundError(f"no folders set1, set2, ... of folds in {str(folder)!r}")
    return sorted(names, key=lambda name: (len(name), name))


def fold_lists(folder: Path, fold: str) -> dict[str, str]:
    """Return {id: fold} of one published fold: its name for what is tested, another for what is trained on.

    Raises:
        FileNotFoundError: A list does not exist.
        ValueError: An id is in both lists.
    """
    folder = folder / f"set{fold}"
    tested = folder / "test.txt"
    if not tested.is_file() and (folder / "val.txt").is_file():
        tested = folder / "val.txt"
    train, _ = read_ids(folder / "train.txt")
    test, _ = read_ids(tested)
    both = sorted(set(train) & set(test))
    if both:
        raise ValueError(f"{folder}: ids in both train.txt and {tested.name}: {both[:5]}")
    return {**{i: f"not {fold}" for i in train}, **{i: fold for i in test}}


def turned_y(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record whose y counts from the top: H - 1 - y, where y = 0 was the centre of the bottom row.

    Raises:
        ValueError: The height of the image is not known: the record says none, and there is no image.
    """
    path = record.get("img_path")
    if record.get("ori_shape") is None:
        if path is None or not os.path.isfile(path):
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


def subset_schema(schema: LandmarkSchema, landmarks: Sequence[int | str]) -> tuple[LandmarkSchema, list[int]]:
    """Return the schema of some landmarks, in the given order, and their indices in ``schema``.

    Pairs, links and measures are kept where all their landmarks are kept.

    Raises:
        ValueError: A name or index is not in the schema, or is named twice.
    """
    names = list(schema.landmarks)
    chosen = []
    for item in landmarks:
        index = names.index(item) if isinstance(item, str) and item in names else item
        if not isinstance(index, int) or not 0 <= index < len(names):
            raise ValueError(f"landmarks: {item!r} is not in schema {schema.name!r}; it has {names}")
        chosen.append(index)
    if len(set(chosen)) != len(chosen) or not chosen:
        raise ValueError(f"landmarks: name at least one landmark and none twice, got {list(landmarks)}")
    new = {old: i for i, old in enumerate(chosen)}

    def kept(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        return tuple((new[a], new[b]) for a, b in pairs if a in new and b in new)

    length = schema.reference_length
    if length is not None:
        pair = kept([tuple(length["pair"])])
        length = dict(length, pair=list(pair[0])) if pair else None
    measures = tuple(
        dict(m, points=[new[p] for p in m["points"]]) for m in schema.measures if set(m["points"]) <= set(new)
    )
    smaller = LandmarkSchema(
        name=f"{schema.name}[{','.join(map(str, chosen))}]",
        landmarks=tuple(names[i] for i in chosen),
        dims=schema.dims,
        flip_pairs=kept(schema.flip_pairs),
        links=kept(schema.links),
        reference_length=length,
        measures=measures,
        sources=schema.sources,
    )
    return smaller, chosen


def read_ids(ids: str | Path | Sequence[str | int], root: str = "") -> tuple[list[str], str]:
    """Return sample ids from a list or a text file, and a name of where they come from.

    Args:
        ids: The ids, or a file with one id a line: below ``root`` or, as a tool prints it, below the folder
            in which the program runs; ``mmlandmark::<path>`` is one that is shipped with the configs.
        root: Folder of the data.

    Raises:
        FileNotFoundError: The text file does not exist.
        ValueError: There is no id, or one is listed twice; or two files of that name say different things.
    """
    if isinstance(ids, (str, Path)):
        name = os.path.expandvars(os.path.expanduser(ids))
        path = shipped_file(str(name)) or _id_list(name, root)
        given: Sequence[Any] = [line.strip() for line in legacy_text(path).split("\n") if line.strip()]
        where = str(path)
    else:
        given, where = ids, "ids"
    found = [sample_id_of(i, where) for i in given]
    doubles = sorted(i for i, times in Counter(found).items() if times > 1)
    if not found or doubles:
        raise ValueError(f"{where}: " + (f"ids listed twice: {doubles[:5]}" if doubles else "no ids"))
    return found, where


def _id_list(name: str, root: str) -> Path:
    """Return the file of that name below the folder of the data, or else below the current one."""
    path, here = Path(root, name), Path(name)
    if not path.is_file() and not here.is_file():
        tried = str(path) if path == here else f"{path}' or '{here}"
        raise FileNotFoundError(f"the list of ids '{tried}' does not exist")
    if path.is_file() and here.is_file() and path.read_bytes() != here.read_bytes():
        raise ValueError(
            f"there are two lists of ids that differ, {path} and {here.resolve()}; give a whole path"
        )
    return path if path.is_file() else here
