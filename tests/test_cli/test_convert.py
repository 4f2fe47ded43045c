"""mmlandmark convert: one format becomes another."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.cli import invoke
from mmlandmark.cli.convert import FORMATS
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.releases import CocoKeypoints, CvatImages, SlicerMarkups
from mmlandmark.datasets.shards import ShardWriter
from mmlandmark.inference import LandmarkInferencer, predict_shards, write_predictions
from mmlandmark.registry import WRITERS
from mmlandmark.testing import tiny_model
from test_inference.predictions import random_prediction, schema_of

SIZE = (40, 32)
SAMPLES = [
    dict(id="1", image="1.png", landmarks=[[1.5, 2], None, [30, 20.25]], visibility=[1, -1, 1], group="p"),
    dict(id="2", image="2.png", landmarks=[[3, 4], [5, 6], [7, 8]]),
]


@pytest.fixture
def folder(tmp_path):
    """Two films and their annotation, in ``data``."""
    (tmp_path / "data" / "films").mkdir(parents=True)
    for sample in SAMPLES:
        cv2.imwrite(str(tmp_path / "data" / "films" / sample["image"]), np.zeros(SIZE, np.uint8))
    schema = dict(name="three", landmarks=["a", "b", "c"])
    (tmp_path / "data" / "all.json").write_text(json.dumps(dict(schema=schema, spacing=0.1, samples=SAMPLES)))
    return tmp_path


def read(format, path, folder):
    options = dict(data_root=str(folder / "data"), image_dir="films", serialize_data=False)
    if format == "slicer":
        return SlicerMarkups(str(path), spacing=0.1, **options)
    cls = dict(coco=CocoKeypoints, cvat=CvatImages).get(format, LandmarkDataset)
    return cls(str(path), **options)


def test_the_formats_are_those_of_the_writers():
    assert set(FORMATS) == set(WRITERS.module_dict)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_the_points(folder, capsys, format):
    path = folder / "out" / WRITERS.get(format).FILE_NAME
    invoke("convert", [str(folder / "data"), str(path), "--to", format])
    out = capsys.readouterr().out
    assert "2 cases with 3 landmarks, read as json" in out
    assert "not written, since predictions do not have them: group (1)" in out
    data = read(format, path, folder)
    for sample, record in zip(SAMPLES, map(data.get_data_info, range(2)), strict=True):
        given = np.array([[np.nan] * 2 if p is None else p for p in sample["landmarks"]])
        np.testing.assert_allclose(record["landmarks"], given, atol=1e-4)
        assert record["sample_id"] == sample["id"]
        assert record["img_path"].endswith(f"data/films/{sample['image']}")
    if format in ("json", "csv", "slicer"):
        assert data.get_data_info(0)["visibility"].tolist() == [1, -1, 1]


def test_an_annotation_does_not_become_a_prediction(folder):
    invoke("convert", [str(folder / "data"), str(folder / "a.json"), "--to", "json"])
    sample = json.loads((folder / "a.json").read_text())["samples"][0]
    assert list(sample) == ["id", "image", "width", "height", "spacing", "landmarks", "visibility"]
    invoke("convert", [str(folder / "data"), str(folder / "a.csv"), "--to", "csv"])
    assert "score" not in (folder / "a.csv").read_text()
    invoke("convert", [str(folder / "data"), str(folder / "a"), "--to", "slicer"])
    points = json.loads((folder / "a" / "1.mrk.json").read_text())["markups"][0]["controlPoints"]
    assert [point["description"] for point in points] == ["", "absent", ""]


def test_a_prediction_keeps_what_the_model_said(tmp_path):
    rng = np.random.default_rng(0)
    schema = schema_of(2)
    one = random_prediction(rng, schema, image=str(tmp_path / "a.png"), shape=SIZE)
    cv2.imwrite(one.image, np.zeros(SIZE, np.uint8))
    write_predictions([one], schema, tmp_path / "a.json", "json", image_dir=tmp_path)
    invoke("convert", [str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--to", "json"])
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert second["schema"] == first["schema"]
    predicted = [data["samples"][0].pop("predicted") for data in (first, second)]
    assert predicted[0].keys() == predicted[1].keys()
    for key, value in predicted[0].items():
        if key == "world":
            for here, there in zip(value, predicted[1][key], strict=True):
                assert (here is None) == (there is None)
                np.testing.assert_allclose(here or 0, there or 0, atol=1e-4)
        else:
            assert predicted[1][key] == value, key


def test_a_table_of_a_prediction_loses_scores_but_no_millimetres(tmp_path, capsys):
    one = random_prediction(np.random.default_rng(0), schema_of(2, ("a", "b")), shape=SIZE)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros(SIZE, np.uint8))
    write_predictions([one], one.schema, tmp_path / "a.csv", "csv")
    invoke("convert", [str(tmp_path / "a.csv"), str(tmp_path / "b.json"), "--to", "json"])
    told = capsys.readouterr().out.split("not written")[1]
    assert " more" in told
    assert "_x [mm]" not in told


def test_in_and_out_are_not_one_file(folder):
    path = str(folder / "data" / "all.json")
    with pytest.raises(ValueError, match=r"IN and OUT are the same; write to another place"):
        invoke("convert", [path, path, "--to", "json"])


@pytest.mark.parametrize(("to", "out"), [("json", "a.json"), ("slicer", "a")])
def test_what_is_there_is_not_replaced_without_a_word(folder, to, out):
    there = folder / out if to == "json" else folder / out / "1.mrk.json"
    there.parent.mkdir(exist_ok=True)
    there.write_text("mine")
    words = [str(folder / "data"), str(folder / out), "--to", to]
    with pytest.raises(
        ValueError, match=rf"{out} (exists|is not empty); choose another OUT, or replace it with"
    ):
        invoke("convert", words)
    assert there.read_text() == "mine"
    invoke("convert", [*words, "--overwrite"])
    assert there.read_text() != "mine"


def test_a_folder_is_no_file(folder):
    data = str(folder / "data")
    with pytest.raises(ValueError, match="data is a folder; --to csv writes a file, choose another OUT"):
        invoke("convert", [data, data, "--to", "csv", "--overwrite"])
    with pytest.raises(
        ValueError, match=r"1\.png is a file; --to slicer writes a folder, choose another OUT"
    ):
        invoke("convert", [data, str(folder / "data" / "films" / "1.png"), "--to", "slicer"])
    (folder / "empty").mkdir()
    invoke("convert", [data, str(folder / "empty"), "--to", "slicer"])
    assert len([*(folder / "empty").iterdir()]) == 2


def test_a_format_without_a_third_dimension(tmp_path):
    rng = np.random.default_rng(0)
    one = random_prediction(rng, schema_of(3), image=str(tmp_path / "a.npy"), shape=(4, 5, 6))
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6), np.uint8))
    write_predictions([one], one.schema, tmp_path / "a.json", "json")
    with pytest.raises(
        ValueError, match=r"holds points of 2 coordinates, .* have 3; write json, csv or slicer"
    ):
        invoke("convert", [str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--to", "coco"])


def test_a_scale_of_tps_needs_its_unit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.zeros(SIZE, np.uint8))
    (tmp_path / "fish.tps").write_text("LM=1\n3 4\nIMAGE=a.png\nSCALE=0.5\n")
    invoke("convert", ["fish.tps", "bare.json", "--to", "json"])
    assert "scale_without_unit (1)" in capsys.readouterr().out
    assert LandmarkDataset("bare.json")[0]["spacing"] is None
    invoke("convert", ["fish.tps", "cm.json", "--to", "json", "--scale-to-mm", "10"])
    assert LandmarkDataset("cm.json")[0]["spacing"] == (5, 5)


def test_predictions_over_shards_are_joined(folder, capsys):
    films = folder / "data" / "films"
    with ShardWriter(folder / "shards", 1) as writer:
        for sample in SAMPLES:
            writer.add(dict(id=sample["id"], landmarks=None), ".png", (films / sample["image"]).read_bytes())
        index = str(writer.finish(None))
    inferencer, out = LandmarkInferencer(tiny_model(), "cpu"), folder / "out"
    predict_shards(inferencer, index, out, (2, 2))
    with pytest.raises(ValueError, match=r"1 of 2 shards are not finished, first \['shard-000000.tar'\]"):
        invoke("convert", [str(out), str(folder / "all.csv"), "--to", "csv"])
    predict_shards(inferencer, index, out, (1, 2))
    invoke("convert", [str(out), str(folder / "all.csv"), "--to", "csv"])
    assert "2 cases with 19 landmarks, joined" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"all\.csv exists; choose another OUT, or replace it"):
        invoke("convert", [str(out), str(folder / "all.csv"), "--to", "csv"])
    invoke("convert", [str(out), str(folder / "all.csv"), "--to", "csv", "--overwrite"])
    invoke("convert", [str(out), str(folder / "all.json"), "--to", "json"])
    data = [LandmarkDataset(str(folder / f"all.{kind}"), missing_images="keep") for kind in ("csv", "json")]
    assert [[one.get_data_info(i)["sample_id"] for i in range(2)] for one in data] == [["1", "2"]] * 2
    np.testing.assert_allclose(data[0].get_data_info(1)["landmarks"], data[1].get_data_info(1)["landmarks"])
    with pytest.raises(ValueError, match="they are joined with --to and no other option"):
        invoke("convert", [str(out), str(folder / "b.json"), "--to", "json", "--y-up"])
