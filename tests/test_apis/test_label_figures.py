"""The figure of a study's pseudo labels, from the folders of its runs."""

from __future__ import annotations

import json
import re

import cv2
import pytest

from mmlandmark.cli import invoke
from mmlandmark.engine import ConfigError


def row(epoch, predicted, kept):
    return dict(epoch=epoch, error_predicted=predicted, error_kept=kept, error_masked=None, unit="mm")


def write(folder, run, rows):
    file = folder / run / "01_self_train" / "pseudo_labels" / "rounds.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(dict(rounds=rows)))


def test_a_figure_and_its_numbers_come_from_work_folders_or_the_numbers(tmp_path, capsys):
    write(tmp_path / "films", "naive_seed0", [row(0, 3.0, 3.0), row(2, 2.0, 2.0)])
    write(tmp_path / "films", "ours_seed0", [row(0, 3.0, 2.5)])
    write(tmp_path / "films", "ours_seed1", [dict(epoch=0)])  # nobody knows the truth
    (tmp_path / "films" / "supervised_seed0").mkdir()
    out = tmp_path / "rounds.png"
    invoke("draw-figures", ["label-rounds", f"20 films={tmp_path / 'films'}", "--out", str(out)])
    assert capsys.readouterr().out == f"wrote {out}\n"
    naive = dict(epoch=[0, 2], predicted=[3.0, 2.0], kept=[3.0, 2.0])
    ours = dict(epoch=[0], predicted=[3.0], kept=[2.5])
    numbers = {"20 films": dict(unit="mm", arms=dict(naive={"0": naive}, ours={"0": ours}))}
    assert json.loads(out.with_suffix(".json").read_text()) == numbers
    again = tmp_path / "again.png"
    both = [f"20 films={tmp_path / 'films'}", str(out.with_suffix(".json"))]
    with pytest.raises(ValueError, match="two studies of the name '20 films'"):
        invoke("draw-figures", ["label-rounds", *both, "--out", str(again)])
    invoke("draw-figures", ["label-rounds", str(out.with_suffix(".json")), "--out", str(again)])
    assert json.loads(again.with_suffix(".json").read_text()) == numbers
    assert (cv2.imread(str(again)) == cv2.imread(str(out))).all()


def test_what_has_no_known_errors_is_refused(tmp_path):
    write(tmp_path / "films", "naive_seed0", [dict(epoch=0)])
    out = ["--out", str(tmp_path / "rounds.png")]
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "films")) + ".*hidden annotation"):
        invoke("draw-figures", ["label-rounds", str(tmp_path / "films"), *out])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        invoke("draw-figures", ["label-rounds", str(tmp_path / "other"), *out])
    file = tmp_path / "films" / "naive_seed0" / "01_self_train" / "pseudo_labels" / "rounds.json"
    with pytest.raises(ValueError, match="not written with a figure"):
        invoke("draw-figures", ["label-rounds", str(file), *out])
