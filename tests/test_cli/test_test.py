"""mmlandmark test: table, record and pictures of a trained run; errors are one line."""

from __future__ import annotations

import json

import pytest
import torch

from mmlandmark.utils.checkpoint import save_checkpoint


def test_table_and_record(trained, tmp_path, mmlandmark_command):
    done = mmlandmark_command(
        "test", trained.config, "--work-dir", trained.folder, "--flip", "--no-figures", "--record",
        tmp_path / "record.json", trained.folder / "epoch_1.pth",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = trained.folder / "test"
    assert (out / "report.md").read_text() in done.stdout
    assert f"results are in {out}" in done.stdout
    assert f"recorded {tmp_path / 'record.json'}" in done.stdout
    assert not list(out.glob("*.png")), "--no-figures"
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["config"], record["seed"], record["epoch"]) == ("unet_tiny", 7, 1)
    assert {"mre", "sdr_2px", "sdr_4px"} <= set(record["metrics"])
    report = json.loads((out / "report.json").read_text())
    assert report["overall"]["mre"] == pytest.approx(record["metrics"]["mre"])


@pytest.mark.parametrize("option", [["--flip"], ["--stage", "x"], ["best"], ["--cfg-options", "seed=1"]])
def test_a_record_without_a_file_is_for_the_config_as_it_is(
    option, config, mmlandmark_command, assert_one_line
):
    done = mmlandmark_command("test", config, *option, "--record")
    assert_one_line(done, "--record without a file is for the config as it is", "name a file")


def test_results_of_other_values_are_not_recorded_as_the_configs(
    trained, mmlandmark_command, assert_one_line
):
    done = mmlandmark_command("test", trained.config, "--work-dir", trained.folder, "--record")
    assert_one_line(done, "was not trained with", "name a file for its record")
    assert not (trained.config.parent / "results").exists()


def test_weights_of_another_model_are_one_line(config, tmp_path, mmlandmark_command, assert_one_line):
    save_checkpoint(dict(state_dict={"fc.weight": torch.zeros(2, 2)}), tmp_path / "other.pth")
    done = mmlandmark_command("test", config, tmp_path / "other.pth", "--work-dir", tmp_path)
    assert_one_line(done, "other.pth holds the weights of another model", "1 unexpected (fc.weight)")
    assert not list(tmp_path.rglob("report.*"))


def test_testing_before_training_is_one_line(config, tmp_path, mmlandmark_command, assert_one_line):
    done = mmlandmark_command("test", config, "--work-dir", tmp_path / "empty")
    assert_one_line(done, f"no checkpoint in {tmp_path / 'empty'}: train first, or name one")
