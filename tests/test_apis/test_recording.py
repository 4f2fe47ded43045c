"""A test goes on record."""

from __future__ import annotations

import hashlib
import json

import pytest
from mmengine.config import Config

from mmlandmark.apis import record_test
from mmlandmark.engine import ConfigError
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.files import read_state, write_state


def test_a_result_goes_on_record(trained, tested, tmp_path):
    out, metrics = tested
    config = trained.config()
    path = record_test(config, trained.folder / "epoch_2.pth", metrics, out, tmp_path / "new" / "r.json")
    assert path == tmp_path / "new" / "r.json"
    record = json.loads(path.read_text())
    assert record["config"] == "unet_tiny"
    assert (record["seed"], record["epoch"]) == (3, 2)  # read from the checkpoint
    assert record["metrics"]["mre"] == pytest.approx(metrics["mre"])
    assert {"sdr_2px", "sdr_4px", "num_images"} <= set(record["metrics"])
    assert record["image_errors"]["scale_source"] == "pixels of the original images"
    each = record["landmark_errors"]
    assert sum(each["mre"]) / len(each["name"]) == pytest.approx(metrics["mre"], rel=1e-4)
    assert sum(each["sdr_2"]) / len(each["name"]) == pytest.approx(metrics["sdr_2px"], rel=1e-4)
    assert record["config_hash"] == config_hash(config)
    assert record["split"]["images"] == 4
    assert {"commit", "versions", "machine", "date"} <= set(record)
    weights = hashlib.sha256((trained.folder / "epoch_2.pth").read_bytes()).hexdigest()
    assert record["weights"] == weights[:16]
    assert record["inputs"] == {}
    assert record["trained_on"]["images"] == 4
    assert record["trained_on"]["hash"] != record["split"]["hash"]
    assert not {"annotation", "images"} & set(record)  # phantoms are read from no file


def test_a_record_knows_which_images_are_of_one_patient(trained, tested, tmp_path):
    out, metrics = tested
    content = read_state(out / "predictions.json", "test again")
    for case, group in zip(content["cases"], ("ann", None, "bob", "ann"), strict=True):
        case["group"] = group
    write_state(tmp_path / "out" / "predictions.json", content)
    checkpoint = trained.folder / "epoch_2.pth"
    path = record_test(trained.config(), checkpoint, metrics, tmp_path / "out", tmp_path / "r.json")
    assert json.loads(path.read_text())["image_errors"]["groups"] == [0, 1, 2, 0]
    path = record_test(trained.config(), checkpoint, metrics, out, tmp_path / "other.json")
    assert "groups" not in json.loads(path.read_text())["image_errors"]


def test_a_record_stands_beside_its_config(trained, tested):
    out, metrics = tested
    path = record_test(trained.config(), trained.folder / "epoch_2.pth", metrics, out)
    assert path == trained.path.parent / "results" / "unet_tiny_seed3.json"
    assert path.is_file()


def test_a_report_names_what_was_tested(trained, tested):
    checkpoint = str(trained.folder / "epoch_2.pth")
    assert f" Tested: `{checkpoint}`.\n" in (tested[0] / "report.md").read_text()
    for name in ("report", "predictions"):
        assert json.loads((tested[0] / f"{name}.json").read_text())["tested"] == checkpoint


def test_the_same_test_has_the_same_hashes(trained, tested, tmp_path):
    out, metrics = tested
    records = []
    for name in ("a", "b"):
        config = trained.config(work_dir=name, launcher="pytorch")
        path = record_test(config, trained.folder / "epoch_1.pth", metrics, out, tmp_path / f"{name}.json")
        records.append(json.loads(path.read_text()))
    assert records[0]["config_hash"] == records[1]["config_hash"]
    assert records[0]["split"] == records[1]["split"]
    assert records[0]["epoch"] == 1


def test_a_config_without_a_file_needs_a_path(trained, tested):
    out, metrics = tested
    nameless = Config(trained.config()._cfg_dict)
    with pytest.raises(ConfigError, match="--record needs a path"):
        record_test(nameless, trained.folder / "epoch_2.pth", metrics, out)
