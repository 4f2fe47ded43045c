"""Left and right, before and after, above and below."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset, PhantomDataset
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.releases import SpineAasce2019
from test_datasets.ladders import ladder, ladder_dataset, of_check


def test_y_of_a_volume_goes_to_the_back(tmp_path):
    rng = np.random.default_rng(0)
    points = np.array([[20, 22, 8], [20, 18, 32]]) + rng.normal(0, 0.5, (12, 2, 3))  # the top is in front
    samples = [dict(image=f"{n}.npy", landmarks=p.tolist()) for n, p in enumerate(points)]
    for n in range(12):
        np.save(tmp_path / f"{n}.npy", rng.integers(0, 255, (40, 40, 40)).astype(np.uint8))
    schema = dict(name="v", landmarks=["top", "bottom"], dims=3)
    (tmp_path / "a.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    report = check_dataset(dict(train=LandmarkDataset("a.json", str(tmp_path))))
    assert report["findings"] == []


@pytest.mark.parametrize("kind", ["ceph", "hand", "spine"])
def test_a_file_whose_y_counts_from_the_bottom(kind):
    from mmlandmark.testing.planted_faults import phantom_annotations, replace

    right = phantom_annotations(kind, 30)
    height = right.sizes[:, None, 1:]
    wrong = replace(
        right, points=np.concatenate([right.points[..., :1], height - 1 - right.points[..., 1:]], 2)
    )
    assert not of_check(check_dataset(dict(train=right.dataset())), "y from the bottom")
    report = check_dataset(dict(train=right.dataset(), test=wrong.dataset()))
    assert [
        f["split"] for f in report["findings"] if f["check"] == "y from the bottom" and not f["sample_id"]
    ] == ["test"]


def test_names_tell_what_is_above(tmp_path):
    points = ladder()
    names = [f"{word} {n}" for n in range(6) for word in ("upper", "lower")]
    order = [k for n in range(3) for k in (n, n + 6, n + 3, n + 9)]

    def named(folder, marks):
        data = ladder_dataset(tmp_path / folder, marks[:, order])
        path = tmp_path / folder / "a.json"
        path.write_text(
            json.dumps(dict(json.loads(path.read_text()), schema=dict(name="x", landmarks=names)))
        )
        return LandmarkDataset("a.json", data.data_root, missing_images="keep")

    report = check_dataset(dict(train=named("a", points)))
    assert not of_check(report, "y from the bottom")
    report = check_dataset(dict(train=named("b", points * [1, -1] + [0, 179])))
    (finding,) = (f for f in report["findings"] if f["check"] == "y from the bottom")
    assert "'upper 0' lies below 'lower 0'" in finding["message"]


def test_phantoms_have_no_errors():
    report = check_dataset(dict(train=PhantomDataset("spine", num_samples=12)))
    assert not [
        f for f in report["findings"] if f["check"] in ("point outside", "order break", "left-right swap")
    ]


@pytest.mark.real_data
def test_known_faults_of_the_spine_labels(real_data):
    report = check_dataset(dict(train=SpineAasce2019(data_root=str(real_data("spine_aasce2019")))))
    counts = report["summary"]
    assert counts["point outside"] == 1
    assert counts["points too close"] == 7
    assert counts["left-right swap"] == 2
    assert counts["order break"] == 62
