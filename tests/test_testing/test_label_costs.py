"""Labels and the rest of an epoch are measured in the same epoch."""

from __future__ import annotations

import json
import time

import pytest

from mmlandmark.engine.hooks import pseudo_label_hook
from mmlandmark.testing import label_costs, tiny_config
from mmlandmark.testing.kill_methods import three_stages


def test_the_seconds_of_an_epoch_are_those_of_its_labels_and_the_rest(tmp_path, monkeypatch, capsys):
    select = pseudo_label_hook._selected

    def slow(*given):
        time.sleep(0.05)
        return select(*given)

    monkeypatch.setattr(pseudo_label_hook, "_selected", slow)
    three_stages(tmp_path / "unused").dump(tmp_path / "stages.py")
    label_costs.main(
        [str(tmp_path / "stages.py"), str(tmp_path / "costs.json"), "--epochs", "1", "--images", "2"]
    )
    record = json.loads((tmp_path / "costs.json").read_text())
    assert record["config"] == "stages"
    assert {"cpu", "cores", "gpu"} <= set(record["machine"])
    by_epoch, by_batch = (record["ways"][name] for name in label_costs.WAYS)
    # One selection a round, and two batches an epoch, each of which has unlabelled samples.
    assert by_epoch["labels_seconds"] > 0.05
    assert by_batch["labels_seconds"] > 0.1
    for row in (by_epoch, by_batch):
        assert row["share"] == pytest.approx(row["labels_seconds"] / row["rest_seconds"], rel=0.05)
    assert "every batch" in capsys.readouterr().out


def test_a_training_without_labels_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no PseudoLabelHook, so nothing is labelled"):
        label_costs.epoch_times(tiny_config(tmp_path), {}, 1, str(tmp_path))
