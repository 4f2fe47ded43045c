"""What was tested is known by its content, wherever it lies."""

from __future__ import annotations

import hashlib
import json
import shutil

from mmengine.config import Config

from mmlandmark.apis.provenance import annotation_files, describe_tested
from mmlandmark.datasets import LandmarkDataset, PhantomDataset


def test_a_record_names_annotation_and_images_by_content(lab, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("elsewhere")
    config = Config.fromfile(lab.config)
    checkpoint = tmp_path / "some.pth"
    checkpoint.write_bytes(b"weights")
    found = describe_tested(config, checkpoint)
    assert found["weights"] == hashlib.sha256(b"weights").hexdigest()[:16]
    assert found["annotation"]["files"] == 1
    assert (found["images"]["files"], found["images"]["formats"]) == (1, {"PNG": 1})
    moved = tmp_path / "moved, and renamed"
    shutil.copytree(lab.folder, moved)
    config.test_dataloader.dataset.data_root = str(moved)
    assert describe_tested(config, checkpoint) == found
    points = moved / "points.json"
    points.write_text(points.read_text() + " ")
    assert describe_tested(config, checkpoint)["annotation"] != found["annotation"]
    assert describe_tested(config, checkpoint)["images"] == found["images"]


def test_annotation_files_are_the_sources_of_the_records(tmp_path):
    folder = tmp_path / "a, and b"  # a source is "file, line 3": commas of the path are kept
    folder.mkdir()
    samples = [dict(image=f"{n}.png", landmarks=[[1, 2]]) for n in range(2)]
    (folder / "points.json").write_text(json.dumps(dict(samples=samples)))
    data = LandmarkDataset("points.json", str(folder), missing_images="keep")
    assert annotation_files(data) == {str(folder / "points.json")}
    assert annotation_files(PhantomDataset("spine", num_samples=2)) == set()
