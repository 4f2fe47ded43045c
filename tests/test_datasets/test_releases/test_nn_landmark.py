"""Data sets in the layout of nnLandmark."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets.releases import NnLandmark
from mmlandmark.structures import world_matrix
from mmlandmark.testing.volume_files import write_nifti

pytest.importorskip("nibabel")


def nnlandmark(root):
    """Write three cases, of which ``two`` lacks a landmark and ``three`` is of the test part."""
    world = world_matrix((0.5, 0.5, 2), (5, 6, 7), np.diag([-1, -1, 1]))
    for folder, name in (("imagesTr", "one"), ("imagesTr", "two"), ("imagesTs", "three")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        write_nifti(root / folder / f"{name}_0000.nii.gz", np.zeros((8, 10, 12), np.uint8), world)
    points = dict(
        one={"landmark_2": [1, 2, 3], "landmark_1": [11, 9, 7]},
        two={"landmark_2": [4.5, 5, 6]},
        three={"landmark_1": [0, 0, 0], "landmark_2": None},
    )
    spacing = dict(one=dict(image_spacing=[0.5, 0.5, 2], annotation_spacing=None),
                   two=dict(image_spacing=None, annotation_spacing=[1, 2, 3]))  # fmt: skip
    for name, content in (
        ("all_landmarks_voxel", points),
        ("spacing", spacing),
        ("name_to_label", dict(landmark_1=1, landmark_2=2)),
        ("dataset", dict(labels={}, file_ending=".nii.gz")),
    ):
        (root / f"{name}.json").write_text(json.dumps(content))


def test_cases_parts_names_and_spacing(tmp_path):
    nnlandmark(tmp_path)
    data = NnLandmark(data_root=str(tmp_path))
    one, two, three = (data.get_data_info(n) for n in range(3))
    assert data.schema.landmarks == ("landmark_1", "landmark_2")
    assert one["landmarks"].tolist() == [[11, 9, 7], [1, 2, 3]]
    assert (one["split"], three["split"]) == ("train", "test")
    assert np.isnan(two["landmarks"][0]).all()
    assert two["landmarks"][1].tolist() == [4.5, 5, 6]
    assert np.isnan(three["landmarks"][1]).all()
    assert (one["spacing"], two["spacing"]) == ((0.5, 0.5, 2), (1, 2, 3))
    assert three["spacing"] == pytest.approx((0.5, 0.5, 2))  # of its header
    assert len(NnLandmark(data_root=str(tmp_path), split="test")) == 1
    schema = dict(name="other", landmarks=["landmark_2", "landmark_1"], dims=3)
    assert NnLandmark(data_root=str(tmp_path), schema=schema).get_data_info(0)["landmarks"].tolist() == [
        [1, 2, 3],
        [11, 9, 7],
    ]


def test_points_in_a_file_for_each_part_and_no_labels(tmp_path):
    nnlandmark(tmp_path)
    points = json.loads((tmp_path / "all_landmarks_voxel.json").read_text())
    (tmp_path / "all_landmarks_voxel_train.json").write_text(
        json.dumps({k: points[k] for k in ("one", "two")})
    )
    (tmp_path / "all_landmarks_voxel_test.json").write_text(json.dumps(dict(three=points["three"])))
    (tmp_path / "all_landmarks_voxel.json").unlink()
    (tmp_path / "name_to_label.json").unlink()
    data = NnLandmark(data_root=str(tmp_path))
    assert data.schema.landmarks == ("landmark_2", "landmark_1")
    assert len(data) == 3


POINTS = "all_landmarks_voxel"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (POINTS, dict(one=dict(landmark_3=[1, 2, 3])), r"'one': landmarks \['landmark_3'\] have no"),
        (POINTS, dict(one=dict(landmark_1=[1, 2])), r"'one': points of three coordinates"),
        (POINTS, dict(one=dict(landmark_1="x")), r"'one', 'landmark_1': expected a list of 2 or 3"),
        (POINTS, dict(one=[1]), r"voxel.json, 'one': expected an object, got \[1\]"),
        (POINTS, dict(four=dict(landmark_1=[1, 2, 3])), r"images do not exist, first .*four_0000.nii.gz"),
        ("spacing", dict(one=dict(image_spacing="1")), r"spacing.json, 'one': a spacing is a list of"),
        ("name_to_label", dict(landmark_1="one"), r"name_to_label.json: 'landmark_1' must be a number"),
        # Voxels of an array with the axes reversed do not fit the volume.
        (POINTS, dict(one=dict(landmark_1=[1, 2, 11], landmark_2=[7, 9, 11])),
         r"'one': most landmarks lie outside of the image; reading them as z, y, x puts them inside"),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path, name, content, message):
    nnlandmark(tmp_path)
    (tmp_path / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        NnLandmark(data_root=str(tmp_path))


def test_no_points(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no all_landmarks_voxel.json"):
        NnLandmark(data_root=str(tmp_path))
