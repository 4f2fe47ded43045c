"""find_checkpoint, draw_test_figures, record_test: what a test leaves behind."""

from __future__ import annotations

import hashlib
import json

import cv2
import pytest
from mmengine.config import Config

from mmlandmark import apis
from mmlandmark.apis import check_trained_as, draw_test_figures, find_checkpoint, record_test
from mmlandmark.engine import ConfigError
from mmlandmark.registry import DATASETS
from mmlandmark.utils.config_hash import config_hash


@pytest.fixture(scope="module")
def tested(trained, tmp_path_factory):
    """The folder and the metrics of one test."""
    out = tmp_path_factory.mktemp("tested")
    return out, apis.test_config(trained.config(), trained.folder / "epoch_2.pth", out_dir=out)


def test_the_newest_checkpoint_is_found(trained, tmp_path):
    config = trained.config()
    assert find_checkpoint(config, None) == trained.folder / "epoch_2.pth"
    assert find_checkpoint(config, "other.pth").name == "other.pth"
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*nothing: train first, or name one"):
        find_checkpoint(trained.config(work_dir=str(tmp_path / "nothing")), None)
    staged = trained.config(work_dir=str(tmp_path), stages=[dict(name="a"), dict(name="b")])
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*02_b"):
        find_checkpoint(staged, None)


@pytest.fixture(scope="module")
def figures(trained, tested):
    """The figures of that test."""
    return draw_test_figures(trained.config(), tested[0])


def test_figures_are_drawn(tested, figures):
    names = {p.name for p in figures}
    assert {"cumulative_error.png", "landmark_errors.png", "training.png"} <= names
    assert {p.name.split("_")[1] for p in figures if p.name.startswith("case_")} == {"median", "p95", "worst"}
    for path in figures:
        assert path.parent == tested[0]
        picture = cv2.imread(str(path))
        assert picture is not None
        assert min(picture.shape[:2]) > 200
        assert picture.std() > 1


def test_the_worst_case_is_the_worst(tested, figures):
    (worst,) = [p for p in figures if p.name.startswith("case_worst_")]
    cases = json.loads((tested[0] / "predictions.json").read_text())["cases"]
    means = {c["sample_id"]: sum(c["errors"]) / len(c["errors"]) for c in cases}
    assert worst.name == f"case_worst_{max(means, key=means.get)}.png"


def test_a_figure_named_after_a_case_lies_beside_the_others(trained, tested, tmp_path):
    found = json.loads((tested[0] / "predictions.json").read_text())
    dataset = DATASETS.build(trained.config().test_dataloader.dataset)
    samples = []
    for i, case in enumerate(found["cases"]):
        image = dataset.get_data_info(i)["img"]
        case["sample_id"] = f"x/../../evil{i}"
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
        samples.append(dict(id=case["sample_id"], image=f"{i}.png", landmarks=case["gt"]))
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    (out / "predictions.json").write_text(json.dumps(found))
    (tmp_path / "all.json").write_text(json.dumps(dict(samples=samples)))
    config = trained.config()
    config.test_dataloader.dataset = dict(
        type="LandmarkDataset", ann_file="all.json", data_root=str(tmp_path), pipeline=[]
    )
    figures = draw_test_figures(config, out)
    assert {p.parent for p in figures} == {out}
    assert not [p for p in tmp_path.rglob("*evil*") if p.parent != out]


def test_figures_of_wrapped_data_and_missing_points(trained, tested, tmp_path):
    out, _ = tested
    predictions = json.loads((out / "predictions.json").read_text())
    for case in predictions["cases"]:  # as an image without its first landmark is written
        case["gt"][0], case["errors"][0] = [None, None], None
    (tmp_path / "predictions.json").write_text(json.dumps(predictions))
    config = trained.config()
    inner = dict(config.test_dataloader.dataset)
    config.test_dataloader.dataset = dict(type="RepeatDataset", times=1, dataset=inner)
    assert len(draw_test_figures(config, tmp_path)) == 6


def test_figures_without_a_training_log(trained, tested, tmp_path):
    out, _ = tested
    (tmp_path / "predictions.json").write_text((out / "predictions.json").read_text())
    paths = draw_test_figures(trained.config(work_dir=str(tmp_path / "elsewhere")), tmp_path)
    assert "training.png" not in {p.name for p in paths}
    assert len(paths) == 5


def test_figures_need_predictions(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"predictions\.json"):
        draw_test_figures(trained.config(), tmp_path)
    assert list(tmp_path.iterdir()) == []


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
    assert record["config_hash"] == config_hash(config)
    assert record["split"]["images"] == 4
    assert {"commit", "versions", "machine", "date"} <= set(record)
    weights = hashlib.sha256((trained.folder / "epoch_2.pth").read_bytes()).hexdigest()
    assert record["weights"] == weights[:16]
    assert record["inputs"] == {}
    assert record["trained_on"]["images"] == 4
    assert record["trained_on"]["hash"] != record["split"]["hash"]
    assert not {"annotation", "images"} & set(record)  # phantoms are read from no file


def test_a_record_stands_beside_its_config(trained, tested):
    out, metrics = tested
    path = record_test(trained.config(), trained.folder / "epoch_2.pth", metrics, out)
    assert path == trained.path.parent / "results" / "unet_tiny_seed3.json"
    assert path.is_file()


def test_weights_are_those_of_the_config(trained, tmp_path):
    checkpoint = trained.folder / "epoch_2.pth"
    check_trained_as(trained.config(work_dir="elsewhere", randomness=dict(seed=9)), checkpoint)
    with pytest.raises(ConfigError, match=r"epoch_2.pth was not trained with .*unet_tiny.py as it is now"):
        check_trained_as(trained.config(optim_wrapper=dict(optimizer=dict(lr=0.5))), checkpoint)
    (tmp_path / "moved.pth").write_bytes(checkpoint.read_bytes())
    check_trained_as(trained.config(), tmp_path / "moved.pth")  # nothing says how it was trained
    staged = trained.config(work_dir=str(trained.folder / "staged"))
    staged.stages = [dict(name="only", train_cfg=dict(max_epochs=1))]
    apis.train_config(staged)
    check_trained_as(staged, find_checkpoint(staged, None))
    with pytest.raises(ConfigError, match="was not trained with"):
        check_trained_as(trained.config(), find_checkpoint(staged, None))


def test_a_report_names_what_was_tested(trained, tested):
    checkpoint = str(trained.folder / "epoch_2.pth")
    assert f"radius. Tested: `{checkpoint}`.\n" in (tested[0] / "report.md").read_text()
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
