"""Small valid files of every reader, for the mutator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.id_lists import read_ids
from mmlandmark.datasets.image_files import image_frame, image_shape
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.releases import (
    Aariz,
    ClDetection2023,
    CocoKeypoints,
    CvatImages,
    DigitalHandAtlas,
    Isbi2015Cephalogram,
    MandibularMolars,
    NnLandmark,
    SlicerMarkups,
    SpineAasce2019,
    TpsFile,
)
from mmlandmark.structures import LandmarkSchema
from mmlandmark.testing.volume_files import write_dicom_series
from test_datasets.fuzzing import Case
from test_datasets.test_releases.test_aariz import aariz
from test_datasets.test_releases.test_cl_detection2023 import cl_detection
from test_datasets.test_releases.test_coco_keypoints import coco
from test_datasets.test_releases.test_cvat_images import XML
from test_datasets.test_releases.test_digital_hand_atlas import hands
from test_datasets.test_releases.test_isbi2015_cephalogram import isbi
from test_datasets.test_releases.test_mandibular_molars import molars
from test_datasets.test_releases.test_nn_landmark import nnlandmark
from test_datasets.test_releases.test_spine_aasce2019 import spine
from test_datasets.test_releases.test_tps_file import tps

OPTIONS = dict(missing_images="keep", serialize_data=False)  # MMEngine collects garbage when it packs
SCHEMA = dict(
    name="three",
    landmarks=["sella", "left", "right"],
    flip_pairs=[["left", "right"]],
    links=[[0, 1]],
    reference_length=dict(pair=[1, 2], mm=30),
    measures=[dict(name="m", kind="angle", points=[1, 0, 2])],
)
SAMPLE = dict(
    id="a",
    image="a.png",
    landmarks=[[1, 2], None, [3.5, 4]],
    visibility=[1, 0, 1],
    weights=[1, 1, 0.5],
    spacing=[0.1, 0.2],
    group="p1",
    split="train",
    fold=0,
    width=20,
    height=24,
    machine="X",
)
TABLE = (
    "id,image,sella_x,sella_y,left_x,left_y,spacing,group,split,fold,width,height,age\n"
    "a,a.png,1,2,3.5,4,0.1,p1,train,0,20,24,40\nb,b.png,,,3,4,0.1,p2,test,1,20,24,50\n"
)

PLACES = ((1, 2, 0), (4, 5, 0), (7, 8.5, 0))
MARKUPS = dict(
    markups=[
        dict(
            type="Fiducial",
            coordinateSystem="LPS",
            coordinateUnits="mm",
            controlPoints=[
                dict(label=f"p{n}", description="", position=place, positionStatus="defined")
                for n, place in enumerate(PLACES)
            ],
        )
    ]
)
FCSV = "# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc\n" + "".join(
    f"n{n},{x},{y},{z},0,0,0,1,1,1,0,p{n},d,,2,0\n" for n, (x, y, z) in enumerate(PLACES)
)


def make_cases(root: Path) -> list[Case]:
    """Write the files of all readers below ``root``, each kind in its folder; return the cases."""
    made = [*_own_files(root), *_releases(root), *_volumes(root), *_images(root)]
    for case in made:
        case.read(root / case.kind)  # all of it is valid
    return made


def check_records(dataset: LandmarkDataset) -> None:
    """Fail unless all records make sense."""
    ids = [dataset.get_data_info(i)["sample_id"] for i in range(len(dataset))]
    assert len(set(ids)) == len(ids), "two samples of one id"
    shape = (len(dataset.schema), dataset.schema.dims)
    for i in range(len(dataset)):
        record = dataset.get_data_info(i)
        points = record["landmarks"]
        assert points.shape == shape, f"{points.shape} landmarks for {shape}"
        missing = np.isnan(points)
        assert (missing.any(1) == missing.all(1)).all(), f"half a point: {points}"
        assert np.isfinite(points[~missing]).all(), f"infinite: {points}"
        assert re.sub(r"[^\S\n\r\x0b\x0c\x1c-\x1f\x85]", "", record["sample_id"]).isprintable()
        spacing = record["spacing"]
        assert spacing is None or all(0 < s < np.inf for s in spacing), f"spacing {spacing}"
        assert set(np.unique(record.get("visibility", 1))) <= {-1, 0, 1}
        assert (np.asarray(record.get("weights", 1)) >= 0).all()
    json.dumps(dataset.metainfo)


def _own_files(root: Path) -> list[Case]:
    made: list[Case] = []

    def case(kind: str, name: str, content: str, read: Callable[[Path], None]) -> None:
        folder = root / kind
        folder.mkdir()
        (folder / name).write_text(content)
        for image in ("a.png", "b.png"):
            cv2.imwrite(str(folder / image), np.full((24, 20), 9, np.uint8))
        made.append(Case(kind, name, read))

    def build(cls: type, name: str, **options: Any) -> Callable[[Path], None]:
        return lambda folder: check_records(cls(name, str(folder), **{**OPTIONS, **options}))

    data = dict(schema=SCHEMA, spacing=0.5, info="x", samples=[SAMPLE, dict(SAMPLE, id="b", image="b.png")])
    case("json", "all.json", json.dumps(data, indent=1), build(LandmarkDataset, "all.json"))
    case("json_y_up", "all.json", json.dumps(data), build(LandmarkDataset, "all.json", y_up=True))
    other = dict(SCHEMA, landmarks=["right", "left", "sella"])
    case("json_other_schema", "all.json", json.dumps(data), build(LandmarkDataset, "all.json", schema=other))
    samples = [dict(id="a", by_annotator=[[[1, 2], [3, 4]], dict(x=[1, 2], y=[3, 5])])]
    two = dict(schema=dict(name="two", landmarks=["x", "y"]), samples=samples)
    case("json_by_annotator", "all.json", json.dumps(two), build(LandmarkDataset, "all.json"))
    predicted = dict(scores=[1, None, 0.5], radii={"0.9": [1, 2, 3]}, radius_unit="mm")
    data = dict(schema=SCHEMA, samples=[dict(SAMPLE, predicted=predicted)])
    case("json_predicted", "all.json", json.dumps(data), build(LandmarkDataset, "all.json", schema=other))
    case("cvat", "all.xml", XML, build(CvatImages, "all.xml"))
    for name, text in (("a.mrk.json", json.dumps(MARKUPS, indent=1)), ("a.fcsv", FCSV)):
        case(f"slicer_{name[2:]}", name, text, build(SlicerMarkups, "", missing_images="raise"))
    points = "name,x,y\n" + "".join(f"p{n},{x},{y}\n" for n, (x, y, _) in enumerate(PLACES))
    for name, text in (
        ("a.csv", points),
        ("a.txt", "# CoordinateSystem = voxels\n1 2\n4 5\n7 8.5\n"),
        ("a.json", json.dumps({f"p{n}": place[:2] for n, place in enumerate(PLACES)})),
    ):
        read = build(SlicerMarkups, "", missing_images="raise", coordinates="pixels")
        case(f"points_{name[2:]}", name, text, read)
    case("csv", "all.csv", TABLE, build(LandmarkDataset, "all.csv"))
    excel = "sep=;\n" + TABLE.replace(",", ";").replace(".5", ",5").replace("0.1", "0,1")
    case("csv_excel", "all.csv", excel, build(LandmarkDataset, "all.csv"))
    names = dict(name="three", landmarks=["sella", "left", "right"])
    case("csv_schema", "all.csv", TABLE, build(LandmarkDataset, "all.csv", schema=names))
    case("csv_bare", "all.csv", "a,1,2,3,4\nb,5,6,,\n", build(LandmarkDataset, "all.csv"))
    units = TABLE.replace("_x", "_x [px]").replace("_y", "_y [px]").replace("age", "left visibility")
    case(
        "csv_units",
        "all.csv",
        units.replace(",40", ",-1").replace(",50", ","),
        build(LandmarkDataset, "all.csv"),
    )
    case("csv_images", "all.csv", TABLE, build(LandmarkDataset, "all.csv", missing_images="raise"))
    case("ids", "ids.txt", "a\nb\nc\n", lambda folder: _check_ids(folder / "ids.txt"))
    schema = json.dumps(SCHEMA, indent=1)
    case(
        "schema",
        "own.json",
        schema,
        lambda folder: json.dumps(LandmarkSchema.load(folder / "own.json").links),
    )
    coco(root / "coco")
    made.append(Case("coco", "coco.json", build(CocoKeypoints, "coco.json", image_dir="images")))
    tps(root / "tps")
    made.append(Case("tps", "all.tps", build(TpsFile, "all.tps", missing_images="raise")))
    tps(root / "tps_down")
    made.append(Case("tps_down", "all.tps", build(TpsFile, "all.tps", y_up=False)))
    return made


def _check_ids(path: Path) -> None:
    found, _ = read_ids(str(path))
    assert len(set(found)) == len(found), "an id twice"
    assert all("\n" not in i and "\r" not in i and i.strip() == i and i for i in found), found


def _releases(root: Path) -> list[Case]:
    isbi(root / "isbi")
    hands(root / "hand", "images", "png")
    spine(root / "spine", splits=("training",))
    (root / "cl").mkdir()
    cl_detection(root / "cl")
    aariz(root / "aariz")
    labels = "labels/training"
    symbols = "train/Annotations/Cephalometric Landmarks/Senior Orthodontists/ta1.json"

    def build(cls: type, **options: Any) -> Callable[[Path], None]:
        return lambda folder: check_records(cls(data_root=str(folder), **{**OPTIONS, **options}))

    return [
        Case("isbi", "AnnotationsByMD/400_senior/001.txt", build(Isbi2015Cephalogram, split="train")),
        Case("hand", "setup/all.csv", build(DigitalHandAtlas)),
        Case("hand", "setup/cv/set1/train.txt", build(DigitalHandAtlas, fold=1, split="train")),
        Case("spine", f"{labels}/landmarks.csv", build(SpineAasce2019)),
        Case("spine", f"{labels}/filenames.csv", build(SpineAasce2019)),
        Case("spine", f"{labels}/angles.csv", build(SpineAasce2019)),
        Case("cl", "train-gt.json", build(ClDetection2023)),
        Case("cl", "train_stack.mha", _read_stack, text=False),
        Case("aariz", symbols, build(Aariz, split="train")),
        Case("aariz", "train/Annotations/CVM Stages/ta1.json", build(Aariz, split="train")),
        Case("aariz", "cephalogram_machine_mappings.csv", build(Aariz, split="train")),
    ]


def _volumes(root: Path) -> list[Case]:
    """Write the releases of volumes and a series of DICOM slices, where their packages are installed."""

    def build(cls: type) -> Callable[[Path], None]:
        return lambda folder: check_records(cls(data_root=str(folder), **OPTIONS))

    made = []
    if find_spec("nibabel"):
        nnlandmark(root / "nn")
        names = ("all_landmarks_voxel", "spacing", "name_to_label")
        made += [Case("nn", f"{name}.json", build(NnLandmark)) for name in names]
    if find_spec("SimpleITK"):
        molars(root / "molars")
        names = ("train/a_label.npy", "train/a_spacing.npy")
        made += [Case("molars", name, build(MandibularMolars), text=False) for name in names]
    if find_spec("pydicom"):
        volume = np.random.default_rng(0).integers(0, 4000, (4, 6, 5)).astype(np.int16)
        write_dicom_series(root / "series", volume, np.eye(4))
        made.append(Case("series", "00002.dcm", _check_image, text=False, told="/series"))
    return made


def _read_stack(folder: Path) -> None:
    dataset = ClDetection2023(data_root=str(folder), **OPTIONS)
    check_records(dataset)
    assert dataset[0]["img"].size, "no pixels"


def _images(root: Path) -> list[Case]:
    rng = np.random.default_rng(0)
    folder = root / "image"
    folder.mkdir()
    grey = rng.integers(0, 256, (24, 20), dtype=np.uint8)
    for suffix in ("png", "jpg", "bmp", "tif"):
        cv2.imwrite(str(folder / f"a.{suffix}"), grey)
    cv2.imwrite(str(folder / "deep.png"), grey.astype(np.uint16) * 200)
    volume = rng.integers(0, 4000, (4, 6, 5)).astype(np.int16)
    np.save(folder / "a.npy", volume)
    names = [p.name for p in folder.iterdir()]
    try:
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(volume)
        image.SetSpacing((0.5, 0.6, 2.0))
        for name in ("a.mha", "a.mhd", "a.nrrd", "packed.mha"):
            sitk.WriteImage(image, str(folder / name), name == "packed.mha")
            names.append(name)
    except ImportError:
        pass
    try:
        import nibabel

        nibabel.save(nibabel.Nifti1Image(volume, np.diag([0.5, 0.6, 2.0, 1.0])), str(folder / "a.nii"))
        names.append("a.nii")
    except ImportError:
        pass
    cv2.imwritemulti(str(folder / "stack.tif"), [grey, grey])
    names += ["stack.tif", *_dicom(folder, grey)]
    text = (".mhd",)
    return [
        Case("image", name, lambda folder, name=name: _check_image(folder / name), name.endswith(text))
        for name in sorted(names)
    ]


def _dicom(folder: Path, grey: np.ndarray) -> list[str]:
    try:
        import pydicom
    except ImportError:
        return []
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.1",
        generate_uid(),
    )
    data = pydicom.dataset.FileDataset(str(folder / "a.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns, data.SamplesPerPixel = *grey.shape, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = [0.1, 0.1], 1, 0
    data.PixelData = (grey.astype(np.uint16) * 16).tobytes()
    data.save_as(folder / "a.dcm", enforce_file_format=True)
    return ["a.dcm"]


def _check_image(path: Path) -> None:
    loaded = read_image(path)
    assert loaded.array.size, "no pixels"
    assert np.isfinite(loaded.array).all(), "pixels are not finite"
    assert loaded.spacing is None or all(0 < s < np.inf for s in loaded.spacing), f"spacing {loaded.spacing}"
    assert np.isfinite(loaded.img_from_original).all(), "the frame is not finite"
    shape = image_shape(path)
    assert tuple(shape) == tuple(loaded.ori_shape), f"the header says {shape}, the image {loaded.ori_shape}"
    world = loaded.world_from_original
    frame = image_frame(path)
    assert (frame is None and world is None) or np.array_equal(frame, world), f"{frame} by header, {world}"
