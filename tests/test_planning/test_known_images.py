"""Which images of an annotation a one-shot detection is measured by."""

from __future__ import annotations

import json
import shutil

import cv2
import pytest

from mmlandmark.planning import DataView, find_data
from mmlandmark.planning.known_images import read_known
from mmlandmark.registry import DATASETS
from test_planning.kites import NAMES, write_kites


@pytest.fixture
def kites(tmp_path):
    """Twelve annotated kites, of which a copy of the first one is the template: a function that reads."""
    path = write_kites(tmp_path / "kites", "json", count=12)
    template = tmp_path / "template.jpg"
    shutil.copy(path.parent / "photos" / "kite00.jpg", template)
    content = json.loads(path.read_text())
    own = dict(content, samples=[dict(content["samples"][0], image="template.jpg")])
    (tmp_path / "template.json").write_text(json.dumps(own))

    def read(change=lambda samples: None, names=NAMES):
        change(content["samples"])
        path.write_text(json.dumps(content))
        shown = DataView(find_data(tmp_path / "template.json").build())
        return read_known(str(path), names, template.resolve(), shown)

    return read, path.parent / "photos"


def test_all_but_the_template_and_its_copies_are_known(kites):
    read, photos = kites
    cv2.imwrite(str(photos / "again.png"), cv2.imread(str(photos / "kite00.jpg")))
    known = read(lambda samples: samples.append(dict(samples[0], image="again.png")))
    assert known.ids == [f"kite{n:02d}" for n in range(1, 12)]
    assert known.left_out == ["2 showing the same picture as the template: kite00, again"]
    assert not known.spacing_known


def test_what_would_end_a_test_is_left_out(kites):
    """The tests come last, behind all of the training."""
    read, photos = kites
    data = (photos / "kite03.jpg").read_bytes()
    (photos / "kite03.jpg").write_bytes(data[:400])
    (photos / "kite04.jpg").unlink()

    def change(samples):
        samples[5]["landmarks"] = [None] * 4
        samples[6].update(width=8000, height=6000)
        samples[7]["landmarks"][0] = [-5000, 3]

    known = read(change)
    assert known.ids == ["kite01", "kite02", "kite08", "kite09", "kite10", "kite11"]
    assert sorted(known.left_out) == [
        "1 showing the same picture as the template: kite00",
        "1 that cannot be read: kite03",
        "1 whose image does not exist: kite04",
        "1 without any of these landmarks: kite05",
        "2 whose landmarks do not fit the image: kite06, kite07",
    ]
    # Nothing else ends one.
    pipeline = [dict(type="LoadImage"), dict(type="Resize", size=(32, 32)), dict(type="Resample")]
    dataset = DATASETS.build(dict(known.config, ids=known.ids, pipeline=pipeline))
    assert [dataset[n]["sample_id"] for n in range(len(dataset))] == known.ids


def test_nothing_known_is_refused(kites):
    read, _ = kites

    def change(samples):
        del samples[2:]
        samples[1]["image"] = "nowhere.jpg"

    with pytest.raises(
        ValueError, match=r"it annotates no image but the template; 1 whose image does not exist: nowhere"
    ):
        read(change)
    with pytest.raises(ValueError, match=r"--known .*points\.json: landmarks: 'beak' is not in schema"):
        read(names=("beak", *NAMES))
