"""Parts of the shards are predicted by processes of their own, which can be killed, and joined."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.shards import ShardError, ShardWriter
from mmlandmark.inference import LandmarkInferencer, joined_predictions, predict_shards
from mmlandmark.inference.journal import JournalError
from mmlandmark.testing import tiny_model
from mmlandmark.testing.range_server import serving
from mmlandmark.utils.files import read_json


@pytest.fixture(scope="module")
def inferencer():
    return LandmarkInferencer(tiny_model(), "cpu", batch_size=2)


def film(number):
    return np.random.default_rng(number).integers(0, 255, (40, 32), np.uint8)


@pytest.fixture
def index(tmp_path):
    """Nine films in three shards; the fifth is no image."""
    with ShardWriter(tmp_path / "shards", 2**20) as writer:
        for number in range(9):
            data = cv2.imencode(".png", film(number))[1].tobytes() if number != 4 else b"\x89PNG"
            entry = dict(id=f"f{number}", landmarks=None, split=f"s{number // 3}", spacing=[0.5, 0.25])
            writer.add(entry, ".png", data)
        return str(writer.finish(dict(name="x", landmarks=["a"])))


class Counted:
    """Counts the images of a call, and ends it after some."""

    def __init__(self, most=100):
        self.done, self.most, self.begun = 0, most, None

    def begin(self, total, finished):
        self.begun = (total, finished)

    def advance(self, results):
        self.done += len(results)
        if self.done >= self.most:
            raise KeyboardInterrupt


def predict(inferencer, index, folder, part=(1, 1), most=100, **options):
    counted = Counted(most)
    outcome = predict_shards(
        inferencer, index, folder, part, begin=counted.begin, advance=counted.advance, **options
    )
    return outcome, counted


def test_parts_are_joined_to_what_one_call_predicts(inferencer, index, tmp_path):
    outcomes = [predict(inferencer, index, tmp_path / "out", (part, 2))[0] for part in (2, 1)]
    assert [(o.asked, o.before, o.total) for o in outcomes] == [(3, 0, 2), (6, 0, 6)]
    assert [[f.sample_id for f in o.failures] for o in outcomes] == [["f4"], []]
    assert "cannot be read" in outcomes[0].failures[0].reason
    assert "shard-000001.tar/000000004.png" in outcomes[0].failures[0].reason
    schema, joined = joined_predictions(tmp_path / "out")
    joined = list(joined)
    assert [one.sample_id for one in joined] == [f"f{n}" for n in range(9) if n != 4]
    assert schema.landmarks == inferencer.schema.landmarks
    for one in joined:
        number = int(one.sample_id[1:])
        (expected,) = inferencer(film(number))
        np.testing.assert_allclose(one.points, expected.points, atol=1e-3)
        assert one.spacing == (0.5, 0.25)
        assert one.image is None


def test_a_data_set_reads_the_result_of_a_shard(inferencer, index, tmp_path):
    outcome, _ = predict(inferencer, index, tmp_path / "out")
    assert [path.name for path in outcome.files] == [f"shard-00000{n}.predictions.json" for n in range(3)]
    data = LandmarkDataset(str(outcome.files[1]))
    assert [data.get_data_info(i)["sample_id"] for i in range(len(data))] == ["f3", "f5"]


def test_a_call_that_is_killed_goes_on_with_the_shards_that_are_left(inferencer, index, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict(inferencer, index, out, most=5)  # in the second shard
    finished = sorted(path.name for path in out.iterdir())
    assert finished == ["shard-000000.done.json", "shard-000000.predictions.json", "shards.json"]
    with pytest.raises(ValueError, match=r"2 of 3 shards are not finished, first \['shard-000001.tar'"):
        joined_predictions(out)
    outcome, counted = predict(inferencer, index, out)
    assert counted.begun == (9, 3)
    assert (counted.done, outcome.before, outcome.total, len(outcome.failures)) == (6, 3, 8, 1)
    outcome, counted = predict(inferencer, index, out)
    assert (counted.done, outcome.before, outcome.total, len(outcome.failures)) == (0, 9, 8, 1)
    (out / "shard-000002.predictions.json").unlink()
    assert predict(inferencer, index, out)[1].done == 3, "a file that is gone is made again"


def test_results_of_another_model_are_replaced_only_on_demand(inferencer, index, tmp_path):
    out = tmp_path / "out"
    predict(inferencer, index, out)
    other = LandmarkInferencer(tiny_model(seed=1), "cpu")
    with pytest.raises(JournalError, match="holds predictions with other model: take another folder"):
        predict(other, index, out)
    assert predict(other, index, out, (1, 3), overwrite=True)[1].done == 3
    with pytest.raises(ValueError, match="2 of 3 shards are not finished"):
        joined_predictions(out)
    assert predict(other, index, out, (2, 3))[1].done == 3
    assert predict(other, index, out, (3, 3))[1].done == 3
    assert len(list(joined_predictions(out)[1])) == 8


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_cannot_be_fetched_ends_the_call_and_leaves_no_result(index, tmp_path, workers):
    inferencer = LandmarkInferencer(tiny_model(), "cpu", num_workers=workers)
    with serving(tmp_path / "shards") as server:
        url = f"{server.url}/index.json"
        (tmp_path / "shards" / "shard-000001.tar").rename(tmp_path / "away")
        with pytest.raises(ShardError, match=r"shard http.*/shard-000001\.tar is missing"):
            predict(inferencer, url, tmp_path / "out")
        assert not list((tmp_path / "out").glob("*1.*"))
        (tmp_path / "away").rename(tmp_path / "shards" / "shard-000001.tar")
        assert predict(inferencer, url, tmp_path / "out")[1].begun == (9, 3)


def test_shards_that_were_packed_anew_are_predicted_anew(inferencer, index, tmp_path):
    predict(inferencer, index, tmp_path / "out")
    content = read_json(tmp_path / "shards" / "index.json")
    content["shards"][0]["sha256"] = "0" * 64
    (tmp_path / "shards" / "index.json").write_text(json.dumps(content))
    with pytest.raises(JournalError, match="with other shards"):
        predict(inferencer, index, tmp_path / "out")
    assert predict(inferencer, index, tmp_path / "out", overwrite=True)[1].begun == (9, 6)


@pytest.mark.parametrize("part", [(0, 2), (3, 2)])
def test_there_is_no_such_part(inferencer, index, tmp_path, part):
    with pytest.raises(ValueError, match="parts are counted from 1"):
        predict(inferencer, index, tmp_path / "out", part)


def test_a_folder_without_parts_is_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        joined_predictions(tmp_path)


@pytest.mark.parametrize("key", ["shards", "schema", "model"])
def test_a_damaged_folder_is_named(inferencer, index, tmp_path, key):
    predict_shards(inferencer, index, tmp_path / "out")
    head = read_json(tmp_path / "out" / "shards.json")
    del head[key]
    (tmp_path / "out" / "shards.json").write_text(json.dumps(head))
    with pytest.raises(
        ValueError,
        match=r"shards\.json is damaged: restore it from a copy, or run mmlandmark predict --shards with",
    ):
        joined_predictions(tmp_path / "out")
