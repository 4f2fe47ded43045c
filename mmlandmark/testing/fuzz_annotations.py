"""Small valid annotations of every format, for the fuzzer."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.id_lists import read_ids
from mmlandmark.datasets.releases import CocoKeypoints, CvatImages, SlicerMarkups, TpsFile
from mmlandmark.inference.writers import case_outputs, output_path, write_predictions
from mmlandmark.structures import LandmarkSchema, Prediction, world_matrix
from mmlandmark.testing.fuzz_case import Case, Nonsense

OPTIONS = dict(missing_images="keep", serialize_data=False)  # MMEngine collects garbage when it packs
NAMES = ["sella", "left", "right"]
SCHEMA = dict(
    name="three",
    landmarks=NAMES,
    flip_pairs=[["left", "right"]],
    links=[[0, 1]],
    reference_length=dict(pair=[1, 2], mm=30),
    measures=[dict(name="m", kind="angle", points=[1, 0, 2])],
)
OTHER = dict(SCHEMA, landmarks=NAMES[::-1])
SAMPLE = dict(
    id="a", image="a.png", landmarks=[[1, 2], None, [3.5, 4]], visibility=[1, 0, 1], weights=[1, 1, 0.5],
    spacing=[0.1, 0.2], group="p1", split="train", fold=0, width=20, height=24, machine="X",
)  # fmt: skip
TABLE = (
    "id,image,sella_x,sella_y,left_x,left_y,spacing,group,split,fold,width,height,age\n"
    "a,a.png,1,2,3.5,4,0.1,p1,train,0,20,24,40\nb,b.png,,,3,4,0.1,p2,test,1,20,24,50\n"
)
UNITS = (
    TABLE.replace("_x", "_x [px]").replace("_y", "_y [px]").replace(",age", ",left visibility")
    .replace(",40", ",-1").replace(",50", ",")
)  # fmt: skip
EXCEL = "sep=;\n" + TABLE.replace(",", ";").replace(".5", ",5").replace("0.1", "0,1")
PLACES = ((1, 2), (4, 5), (7, 8.5))
POINTS = "name,x,y\n" + "".join(f"p{n},{x},{y}\n" for n, (x, y) in enumerate(PLACES))
FCSV = "# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc\n" + "".join(
    f"n{n},{x},{y},0,0,0,0,1,1,1,0,p{n},d,,2,0\n" for n, (x, y) in enumerate(PLACES)
)
TPS = (
    "LM=3\n1.0 2.0\nNA NA\n-1 -1\nCURVES=1\nPOINTS=2\n9 9\n8 8\nIMAGE=C:\\pictures\\a.png\nID=0\nSCALE=0.05\n"
    "\nLM=3\n1 0\n2 0\n3 23\nIMAGE=b.png\n"
)
COCO = dict(
    images=[
        dict(id=7, file_name="a.png", width=20, height=24, spacing=0.2, group="p"),
        dict(id=8, file_name="b.png"),
        dict(id=9, file_name="c.png"),
    ],
    annotations=[
        dict(image_id=8, category_id=1, keypoints=[1, 2, 2, 3, 4, 1]),
        dict(image_id=7, category_id=1, keypoints=[0, 0, 0, 5, 6, 2]),
        dict(image_id=7, category_id=2),
    ],
    categories=[
        dict(id=1, name="hand", keypoints=["tip", "base"], skeleton=[[1, 2]]),
        dict(id=2, name="box"),
    ],
)
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <meta><task><labels>
    <label><name>nasion</name><type>points</type></label>
    <label><name>sella &amp; co</name><type>any</type></label>
  </labels></task></meta>
  <image id="0" name="a/1.png" width="40" height="50">
    <points label="sella &amp; co" source="manual" occluded="0" points="10.50,20.75" z_order="0"></points>
    <box label="tooth" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2"></box>
  </image>
  <image id="1" name="2.png" width="40" height="50">
    <skeleton label="face"><points label="nasion" outside="0" points="3.5,4.5"></points></skeleton>
  </image>
</annotations>
"""


def annotation_cases(root: Path) -> list[Case]:
    """Write annotations of every format below ``root``, each kind in a folder; return the cases."""
    return [
        *_written(root),
        *_own_json(root),
        *_own_tables(root),
        *_of_other_programs(root),
        _case(root, "schema", "schema", "own.json", json.dumps(SCHEMA, indent=1), _read_schema),
        _case(root, "list of ids", "ids", "ids.txt", "a\nb\nc\n", _read_list),
    ]


def check_records(dataset: LandmarkDataset) -> None:
    """Raise :class:`Nonsense` unless all records of a dataset make sense."""
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    ids = [record["sample_id"] for record in records]
    if len(set(ids)) < len(ids):
        raise Nonsense("two samples of one id")
    for record in records:
        problem = _problem(record, (len(dataset.schema), dataset.schema.dims))
        if problem:
            raise Nonsense(f"{record['sample_id']!r}: {problem}")
    json.dumps(dataset.metainfo)


def _problem(record: dict[str, Any], shape: tuple[int, int]) -> str:
    points, spacing, ident = record["landmarks"], record["spacing"], record["sample_id"]
    if points.shape != shape:
        return f"{points.shape} landmarks for {shape}"
    missing = np.isnan(points)
    if (missing.any(1) != missing.all(1)).any() or not np.isfinite(points[~missing]).all():
        return f"half a point, or an infinite one: {points}"
    if spacing is not None and not all(0 < step < np.inf for step in spacing):
        return f"spacing {spacing}"
    if len(ident.splitlines()) != 1 or ident != ident.strip() or "\0" in ident:
        return "the id is not one line"
    if not set(np.unique(record.get("visibility", 1))) <= {-1, 0, 1}:
        return f"visibility {record['visibility']}"
    if not (np.asarray(record.get("weights", 1)) >= 0).all():
        return f"weights {record['weights']}"
    return ""


def _case(
    root: Path, kind: str, name: str, file: str, content: str, read: Callable[[Path], Hashable]
) -> Case:
    """Write a file with two images beside it; return its case."""
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / file).write_text(content, encoding="utf-8")
    for image in "ab":
        cv2.imwrite(str(root / name / f"{image}.png"), np.full((24, 20), 9, np.uint8))
    return Case(kind, name, file, read, text=True)


def _dataset(cls: type[LandmarkDataset], file: str, **options: Any) -> Callable[[Path], None]:
    """Return a function that reads a folder by a dataset."""
    return partial(_read_dataset, cls=cls, file=file, options={**OPTIONS, **options})


def _read_dataset(folder: Path, cls: type[LandmarkDataset], file: str, options: dict[str, Any]) -> None:
    check_records(cls(file, str(folder), **options))


def _read_schema(folder: Path) -> None:
    json.dumps(LandmarkSchema.load(folder / "own.json").links)


def _read_list(folder: Path) -> None:
    found, _ = read_ids(str(folder / "ids.txt"))
    if len(set(found)) < len(found) or any(len(i.splitlines()) != 1 or i != i.strip() for i in found):
        raise Nonsense(f"ids {found}")


def _written(root: Path) -> list[Case]:
    """Return what our own writers write, each of its format."""
    schema = LandmarkSchema.load(SCHEMA)
    points = np.array([[1, 2], [np.nan, np.nan], [3.5, 4]])
    found = np.isfinite(points).all(1)
    predictions = [
        Prediction(
            name, str(root / "images" / f"{name}.png"), (24, 20), schema, points, np.where(found, 0.5, 0.0),
            world_matrix((0.1, 0.2)), presence=np.where(found, 0.9, 0.1),
        )
        for name in "ab"
    ]  # fmt: skip
    readers: dict[str, tuple[str, type[LandmarkDataset]]] = dict(
        json=("JSON", LandmarkDataset), csv=("CSV", LandmarkDataset), coco=("COCO", CocoKeypoints),
        cvat=("CVAT", CvatImages),
    )  # fmt: skip
    made = []
    for format, (kind, cls) in readers.items():
        folder = root / f"written_{format}"
        path = output_path(folder, format)
        write_predictions(predictions, schema, path, format, image_dir=root / "images")
        made.append(Case(kind, folder.name, path.name, _dataset(cls, path.name), text=True))
    folder = root / "written_slicer"
    write_predictions(predictions[:1], schema, output_path(folder, "slicer"), "slicer")
    target = case_outputs(folder, "a")[0]
    cv2.imwrite(str(target.parent / "a.png"), np.full((24, 20), 9, np.uint8))
    read = _dataset(SlicerMarkups, target.parent.name, image_dir=target.parent.name)
    made.append(Case("mrk.json", folder.name, str(target.relative_to(folder)), read, text=True))
    return made


def _own_json(root: Path) -> list[Case]:
    data = dict(schema=SCHEMA, spacing=0.5, info="x", samples=[SAMPLE, dict(SAMPLE, id="b", image="b.png")])
    two = dict(
        schema=dict(name="two", landmarks=["x", "y"]),
        samples=[dict(id="a", by_annotator=[[[1, 2], [3, 4]], dict(x=[1, 2], y=[3, 5])])],
    )
    predicted = dict(scores=[1, None, 0.5], radii={"0.9": [1, 2, 3]}, radius_unit="mm")
    contents: dict[str, tuple[Any, dict[str, Any]]] = dict(
        json=(data, {}),
        json_y_up=(data, dict(y_up=True)),
        json_other_schema=(data, dict(schema=OTHER)),
        json_by_annotator=(two, {}),
        json_predicted=(
            dict(schema=SCHEMA, samples=[dict(SAMPLE, predicted=predicted)]),
            dict(schema=OTHER),
        ),
        json_images=(data, dict(missing_images="raise")),
    )
    return [
        _case(
            root, "JSON", name, "all.json", json.dumps(content, indent=1),
            _dataset(LandmarkDataset, "all.json", **options),
        )
        for name, (content, options) in contents.items()
    ]  # fmt: skip


def _own_tables(root: Path) -> list[Case]:
    contents: dict[str, tuple[str, dict[str, Any]]] = dict(
        csv=(TABLE, {}),
        csv_excel=(EXCEL, {}),
        csv_schema=(TABLE, dict(schema=dict(name="three", landmarks=NAMES))),
        csv_bare=("a,1,2,3,4\nb,5,6,,\n", {}),
        csv_units=(UNITS, {}),
        csv_images=(TABLE, dict(missing_images="raise")),
    )
    return [
        _case(root, "CSV", name, "all.csv", content, _dataset(LandmarkDataset, "all.csv", **options))
        for name, (content, options) in contents.items()
    ]


def _of_other_programs(root: Path) -> list[Case]:
    markups = dict(
        markups=[
            dict(
                type="Fiducial",
                coordinateSystem="LPS",
                coordinateUnits="mm",
                controlPoints=[
                    dict(label=f"p{n}", description="", position=[*place, 0], positionStatus="defined")
                    for n, place in enumerate(PLACES)
                ],
            )
        ]
    )
    placed = dict(missing_images="raise")
    pixels = dict(placed, coordinates="pixels")
    objects = json.dumps({f"p{n}": place for n, place in enumerate(PLACES)})
    plain = "# CoordinateSystem = voxels\n1 2\n4 5\n7 8.5\n"
    points: list[tuple[str, str, str, dict[str, Any]]] = [
        ("mrk.json", "a.mrk.json", json.dumps(markups, indent=1), placed),
        ("fcsv", "a.fcsv", FCSV, placed),
        ("points", "a.csv", POINTS, pixels),
        ("points", "a.txt", plain, pixels),
        ("points", "a.json", objects, pixels),
    ]
    made = [
        _case(
            root, kind, f"of_{file}".replace(".", "_"), file, content, _dataset(SlicerMarkups, "", **options)
        )
        for kind, file, content, options in points
    ]
    made.append(_case(root, "CVAT", "cvat", "all.xml", CVAT, _dataset(CvatImages, "all.xml")))
    made.append(
        _case(root, "COCO", "coco", "coco.json", json.dumps(COCO), _dataset(CocoKeypoints, "coco.json"))
    )
    for name, options in (("tps", placed), ("tps_down", dict(y_up=False))):
        made.append(_case(root, "TPS", name, "all.tps", TPS, _dataset(TpsFile, "all.tps", **options)))
    return made
