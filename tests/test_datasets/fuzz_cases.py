"""Small valid imitations of the releases, for the fuzzer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmlandmark.datasets.releases import (
    Aariz,
    ClDetection2023,
    DigitalHandAtlas,
    Isbi2015Cephalogram,
    MandibularMolars,
    NnLandmark,
    SpineAasce2019,
)
from mmlandmark.testing.fuzz_annotations import OPTIONS, check_records
from mmlandmark.testing.fuzz_case import Case, Nonsense
from test_datasets.test_releases.test_aariz import aariz
from test_datasets.test_releases.test_cl_detection2023 import cl_detection
from test_datasets.test_releases.test_digital_hand_atlas import hands
from test_datasets.test_releases.test_isbi2015_cephalogram import isbi
from test_datasets.test_releases.test_mandibular_molars import molars
from test_datasets.test_releases.test_nn_landmark import nnlandmark
from test_datasets.test_releases.test_spine_aasce2019 import spine


def release_cases(root: Path) -> list[Case]:
    """Write imitations of all releases below ``root``; return a case for every file of annotations."""
    isbi(root / "isbi")
    hands(root / "hand", "images", "png")
    spine(root / "spine", splits=("training",))
    (root / "cl").mkdir()
    cl_detection(root / "cl")
    aariz(root / "aariz")
    labels = "labels/training"
    symbols = "train/Annotations/Cephalometric Landmarks/Senior Orthodontists/ta1.json"
    return [
        case("isbi", "AnnotationsByMD/400_senior/001.txt", build(Isbi2015Cephalogram, split="train")),
        case("hand", "setup/all.csv", build(DigitalHandAtlas)),
        case("hand", "setup/cv/set1/train.txt", build(DigitalHandAtlas, fold=1, split="train")),
        case("spine", f"{labels}/landmarks.csv", build(SpineAasce2019)),
        case("spine", f"{labels}/filenames.csv", build(SpineAasce2019)),
        case("spine", f"{labels}/angles.csv", build(SpineAasce2019)),
        case("cl", "train-gt.json", build(ClDetection2023)),
        case("cl", "train_stack.mha", read_stack, text=False),
        case("aariz", symbols, build(Aariz, split="train")),
        case("aariz", "train/Annotations/CVM Stages/ta1.json", build(Aariz, split="train")),
        case("aariz", "cephalogram_machine_mappings.csv", build(Aariz, split="train")),
        *volumes(root),
    ]


def case(folder: str, target: str, read: Callable[[Path], Hashable], text: bool = True) -> Case:
    return Case(folder, f"{folder}/{target}", target, read, text=text, folder=folder)


def build(cls: type, **options: Any) -> Callable[[Path], None]:
    return lambda folder: check_records(cls(data_root=str(folder), **{**OPTIONS, **options}))


def volumes(root: Path) -> list[Case]:
    """Write the releases of volumes, where their packages are installed."""
    made = []
    if find_spec("nibabel"):
        nnlandmark(root / "nn")
        names = ("all_landmarks_voxel", "spacing", "name_to_label")
        made += [case("nn", f"{name}.json", build(NnLandmark)) for name in names]
    if find_spec("SimpleITK"):
        molars(root / "molars")
        names = ("train/a_label.npy", "train/a_spacing.npy")
        made += [case("molars", name, build(MandibularMolars), text=False) for name in names]
    return made


def read_stack(folder: Path) -> None:
    dataset = ClDetection2023(data_root=str(folder), **OPTIONS)
    check_records(dataset)
    if not dataset[0]["img"].size:
        raise Nonsense("no pixels")
