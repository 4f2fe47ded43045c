"""The project's own annotation files, JSON and CSV; the formats are documented in docs/datasets.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.frame_fit import COORDINATES
from mmlandmark.datasets.image_files import ids_of_images
from mmlandmark.datasets.landmark_order import in_order, landmark_order
from mmlandmark.datasets.patients import PATIENT_KEYS, is_patient, set_groups
from mmlandmark.datasets.predicted import checked_predicted
from mmlandmark.datasets.records import consensus_fields
from mmlandmark.datasets.table_files import read_csv
from mmlandmark.datasets.values import (
    label_of,
    points_of_json,
    refuse_reserved,
    sample_id_of,
    size_of,
)
from mmlandmark.structures import LandmarkSchema
from mmlandmark.utils.files import load_json
from mmlandmark.utils.near_names import did_you_mean, refuse_misspelt

_SAMPLE_KEYS = {
    *(
        "id",
        "image",
        "landmarks",
        "by_annotator",
        "visibility",
        "weights",
        "spacing",
        "group",
        "split",
        "fold",
        "predicted",
    ),
    *("width", "height", "depth"),
}
_FILE_KEYS = {"schema", "spacing", "samples", "info", "coordinates"}


@dataclass
class Annotations:
    """The content of an annotation file: records, with ``image`` as in the file, and a schema."""

    records: list[dict[str, Any]]
    schema: LandmarkSchema | None = None


def read_annotations(
    path: str | Path,
    dims: int | None = None,
    names: Sequence[str] | None = None,
    image_dims: Callable[[str], int | None] | None = None,
) -> Annotations:
    """Read the project's JSON (``.json``) or CSV (``.csv``, ``.tsv``, ``.txt``).

    Args:
        path: The file.
        dims: Coordinates of a point, 2 or 3, of the requested schema: for a CSV without a header, and for the
            size of a volume without landmarks; None infers it.
        names: Landmark names of the requested schema. If the file names its landmarks, they are reordered to
            match.
        image_dims: Returns the dimensions of an image by its name in the file, None where it cannot be read;
            asked for a CSV without a header where ``dims`` is None.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is broken, or has landmarks that are not in ``names``; the message names file
            and line or key.
    """
    path = existing_file(path)
    if path.suffix.lower() == ".json":
        return _from_json(path, dims, names)
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        records, named = read_csv(path, dims, names, image_dims)
        set_groups(records)
        if named is None:
            return Annotations(records)
        dims = next((r["landmarks"].shape[1] for r in records), 2)
        return Annotations(records, LandmarkSchema(name="from_header", landmarks=tuple(named), dims=dims))
    raise ValueError(
        f"{path}: annotation files end in .json, .csv, .tsv or .txt; other formats have own dataset classes"
    )


def existing_file(path: str | Path) -> Path:
    """Return the path of an annotation file; FileNotFoundError if there is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"annotation file {str(path)!r} does not exist; check data_root and ann_file")
    return path


def _from_json(path: Path, dims: int | None, names: Sequence[str] | None) -> Annotations:
    """Read the documented JSON file; see :func:`read_annotations`."""
    return annotations_of(load_json(path), path, dims, names)


def annotations_of(
    data: Any, path: str | Path, dims: int | None = None, names: Sequence[str] | None = None
) -> Annotations:
    """Return what the content of a JSON file says; see :func:`read_annotations`.

    Args:
        data: The content.
        path: Of the file, for messages and for a schema beside it.
        dims: See :func:`read_annotations`.
        names: See :func:`read_annotations`.

    Raises:
        ValueError: The content is not that of an annotation file.
    """
    if not isinstance(data, dict) or not isinstance(data.get("samples"), list):
        looks_like_coco = isinstance(data, dict) and "annotations" in data
        hint = "; this looks like COCO, use type='CocoKeypoints'" if looks_like_coco else ""
        raise ValueError(f"{path}: needs a list under 'samples'{hint}")
    unknown = sorted(set(data) - _FILE_KEYS)
    if unknown:
        hint = did_you_mean(unknown, _FILE_KEYS)
        raise ValueError(f"{path}: unknown keys {unknown}{hint}; known are {sorted(_FILE_KEYS)}")
    schema = _own_schema(path, data.get("schema"))
    own = schema.landmarks if schema is not None else names
    dims = schema.dims if schema is not None else dims
    ids = _ids_of(data["samples"])
    records = [
        _json_record(one, f"{path}, samples[{i}]", own, dims, ids) for i, one in enumerate(data["samples"])
    ]
    set_groups(records)
    if schema is not None and names is not None:
        records = in_order(records, schema.landmarks, names, f"{path}, schema {schema.name!r}")
    said = data.get("coordinates")
    if said is not None and said not in COORDINATES:
        raise ValueError(f"{path}: 'coordinates' must be one of {list(COORDINATES)}, got {said!r:.80}")
    if said is not None:
        records = [dict(record, in_world=said) for record in records]
    if data.get("spacing") is not None:
        for record in records:
            record.setdefault("spacing", data["spacing"])
    return Annotations(records, schema)


def _own_schema(path: str | Path, given: Any) -> LandmarkSchema | None:
    """Return the schema of an annotation file: inline, a shipped one, or a file in the same folder."""
    if given is None:
        return None
    if isinstance(given, dict):
        return LandmarkSchema.from_dict(given, f"{path}, schema")
    if not isinstance(given, str) or "\0" in given:
        raise ValueError(f"{path}: 'schema' must be an object or the name of one, got {given!r:.80}")
    sibling = Path(path).parent / given
    try:
        return LandmarkSchema.load(sibling if os.path.isfile(sibling) else given)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {error}") from error


def _ids_of(samples: list[Any]) -> dict[str, str]:
    """Return the ids of the images of samples without an id; what is no sample is refused later."""
    bare = [one for one in samples if isinstance(one, dict) and one.get("id") is None]
    return ids_of_images(one["image"] for one in bare if isinstance(one.get("image"), str))


def _json_record(
    sample: Any, where: str, names: Sequence[str] | None, dims: int | None, ids: dict[str, str]
) -> dict[str, Any]:
    if not isinstance(sample, dict) or not ("id" in sample or "image" in sample):
        raise ValueError(f"{where}: a sample is an object with 'image', 'landmarks' and optionally 'id'")
    extra = {k: v for k, v in sample.items() if k not in _SAMPLE_KEYS}
    refuse_reserved(extra, where)
    own = [key for key in extra if not is_patient(key)]
    refuse_misspelt(own, [*_SAMPLE_KEYS, *PATIENT_KEYS], where)
    by_annotator, image = sample.get("by_annotator"), sample.get("image")
    if "landmarks" not in sample and by_annotator is None:
        raise ValueError(f"{where}: 'landmarks' is missing; write null if the image is not annotated")
    if by_annotator is not None and not (isinstance(by_annotator, list) and by_annotator):
        raise ValueError(f"{where}: 'by_annotator' must be a list with the landmarks of every annotator")
    if image is not None and not (isinstance(image, str) and image):
        raise ValueError(f"{where}: 'image' must be the name of a file, or null, got {image!r:.80}")
    ident = sample.get("id")
    if ident is None and image is None:
        raise ValueError(f"{where}: neither id nor image is given")
    name = sample_id_of(ids[str(image)] if ident is None else ident, where)
    record = dict(extra, sample_id=name, image=image, source=where)
    given = _json_points(sample.get("landmarks"), where, names)
    if by_annotator is not None:
        every = [_json_points(r, f"{where}, by_annotator[{i}]", names) for i, r in enumerate(by_annotator)]
        points = [p for p in every if p is not None]
        if len(points) < len(every) or any(p.shape != points[0].shape for p in points):
            raise ValueError(f"{where}: every annotator in 'by_annotator' needs the same number of landmarks")
        record.update(consensus_fields(points))
    record["landmarks"] = record.get("landmarks") if given is None else given
    for key in ("visibility", "weights", "spacing"):
        if sample.get(key) is not None:
            record[key] = sample[key]
    for key in ("group", "split", "fold"):
        if sample.get(key) is not None:
            label_of(sample[key], where, key)
            record[key] = sample[key]
    if sample.get("predicted") is not None:
        count = None if names is None else len(names)
        record["predicted"] = checked_predicted(sample["predicted"], count, where)
    return _with_size(record, sample, dims, where)


def _with_size(
    record: dict[str, Any], sample: dict[str, Any], dims: int | None, where: str
) -> dict[str, Any]:
    """Return a record with the size of its image; the depth counts for points of three coordinates only."""
    if record["landmarks"] is not None:
        dims = record["landmarks"].shape[1]
    if "depth" in sample and (dims != 3 or "width" not in sample):
        record = dict(record, depth=sample["depth"])  # an own key: the depth of water, the bits per pixel
    depth = None if "depth" in record else sample.get("depth")
    size = size_of(sample.get("width"), sample.get("height"), where, depth)
    return record if size is None else dict(record, ori_shape=size)


def _json_points(value: Any, where: str, names: Sequence[str] | None) -> np.ndarray | None:
    """Return landmarks given as a list of points or as an object of named points."""
    if value is None:
        return None
    if isinstance(value, dict):
        if names is None:
            raise ValueError(
                f"{where}: landmarks are named, so the order must come from a schema; give 'schema'"
            )
        landmark_order(list(value), names, where)
        value = [value.get(name) for name in names]
    if not isinstance(value, list) or not any(point is not None for point in value):
        if isinstance(value, list) and value and names is not None:
            if len(value) != len(names):
                raise ValueError(f"{where}: {len(value)} landmarks, but there are {len(names)} names")
            return None
        raise ValueError(f"{where}: 'landmarks' must be a list of points, an object of named points, or null")
    return points_of_json(value, where)
