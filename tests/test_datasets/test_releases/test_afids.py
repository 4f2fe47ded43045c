"""AFIDs in the layout of the release."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.releases import Afids
from mmlandmark.structures import LandmarkSchema, apply_matrix, world_matrix
from mmlandmark.testing.volume_files import write_nifti

pytest.importorskip("nibabel")
WORLD = world_matrix((2, 2, 2), (-40, -50, -30), np.diag([1, 1, 1]))
PLACES = np.random.default_rng(0).uniform(0, (39, 49, 29), (32, 3))
COLUMNS = (
    "# CoordinateSystem = 0\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
)


def fcsv(path, places, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    ras = apply_matrix(WORLD, places) * [-1, -1, 1]
    lines = [
        f"n_{label},{x},{y},{z},0,0,0,1,1,1,0,{label},any words,\n"
        for label, (x, y, z) in zip(labels, ras, strict=True)
    ]
    path.write_text(COLUMNS + "".join(lines))


def afids(root):
    """Write two subjects, of which a rater marked the second only, without point 7."""
    for name in ("sub-0010", "sub-0109"):
        (root / name / "anat").mkdir(parents=True)
        write_nifti(root / name / "anat" / f"{name}_T1w.nii.gz", np.zeros((30, 50, 40), np.uint8), WORLD)
        marked = root / "derivatives" / "afids_groundtruth" / name / "anat"
        fcsv(marked / f"{name}_space-T1w_desc-groundtruth_afids.fcsv", PLACES, range(1, 33))
    rows = [n for n in reversed(range(32)) if n != 6]
    rated = root / "derivatives" / "afids_rater" / name / "anat" / f"{name}_space-T1w_desc-rater02_afids.fcsv"
    fcsv(rated, PLACES[rows] + 0.5, [n + 1 for n in rows])


def test_ground_truth_and_raters(tmp_path):
    afids(tmp_path)
    data = Afids(str(tmp_path))
    assert len(data) == 2
    record = data.get_data_info(1)
    assert (record["sample_id"], record["group"]) == ("sub-0109", "sub-0109")
    assert data.schema.landmarks[:2] == ("AC", "PC")
    np.testing.assert_allclose(record["landmarks"], PLACES, atol=1e-4)
    np.testing.assert_allclose(record["spacing"], (2, 2, 2))
    rated = Afids(str(tmp_path), annotator="rater02").get_data_info(0)
    assert rated["sample_id"] == "sub-0109"
    assert np.isnan(rated["landmarks"][6]).all()
    np.testing.assert_allclose(np.delete(rated["landmarks"], 6, 0), np.delete(PLACES, 6, 0) + 0.5, atol=1e-4)


def test_another_order_and_labels_of_another_kind(tmp_path):
    afids(tmp_path)
    two = Afids(str(tmp_path), landmarks=["PC", "AC"]).get_data_info(0)
    np.testing.assert_allclose(two["landmarks"], PLACES[[1, 0]], atol=1e-4)
    path = next((tmp_path / "derivatives" / "afids_rater").rglob("*.fcsv"))
    fcsv(path, PLACES[:2], ["1", "AC"])
    with pytest.raises(ValueError, match=r"rater02_afids.fcsv: labels \['AC'\] are not the numbers 1 to 32"):
        Afids(str(tmp_path), annotator="rater02")
    with pytest.raises(FileNotFoundError, match=r"no \*_space-T1w_desc-rater09_afids"):
        Afids(str(tmp_path), annotator="rater09")


def test_left_and_right_are_pairs():
    schema = LandmarkSchema.load("afids")
    for a, b in schema.flip_pairs:
        assert (schema.landmarks[a][0], schema.landmarks[b][0]) == ("R", "L")
        assert schema.landmarks[a][1:] == schema.landmarks[b][1:]
    assert len(schema.flip_pairs) == 11


@pytest.mark.real_data
def test_the_names_are_those_of_the_template(real_data):
    from mmlandmark.datasets.readers.markups import read_markups

    path = next(real_data("afids_brain").glob("tpl-*.fcsv"))
    said = [name.lower() for name in read_markups(path, "description").names]
    assert [name.lower() for name in LandmarkSchema.load("afids").landmarks] == said
