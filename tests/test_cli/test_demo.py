"""mmlandmark demo: which commands it runs, and what it says of the result.

The demo itself is run by ``make demo`` and, from an installed wheel, by ``make wheel-check``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mmlandmark.cli import demo, invoke
from mmlandmark.cli.entry import make_parser


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Record the commands that the demo runs, and leave predictions as the test would."""
    monkeypatch.chdir(tmp_path)
    made = []

    def call(name, *words, environment):
        made.append((name, make_parser(name).parse_intermixed_args(words), environment))
        if name == "test":
            cases = [
                dict(ori_shape=[50, 100], gt=[[10, 10], [20, 20]], pred=[[13, 14], [20, 20]]),
                dict(ori_shape=[50, 100], gt=[[10, 10], [None, None]], pred=[[10, 16], [20, 20]]),
            ]
            folder = Path(made[-1][1].work_dir) / "test"
            folder.mkdir(parents=True)
            (folder / "predictions.json").write_text(json.dumps(dict(cases=cases)))

    monkeypatch.setattr(demo, "_call", call)
    return made


@pytest.mark.parametrize(
    ("words", "folder", "images", "epochs"),
    [([], "demo", 200, {}), (["--quick"], "demo_quick", 80, {"train_cfg.max_epochs": 5})],
)
def test_phantoms(words, folder, images, epochs, calls, capsys, tmp_path):
    invoke("demo", words)
    (first, made, _), (second, trained, environment), (third, tested, _) = calls
    assert (first, second, third) == ("phantoms", "train", "test")
    assert made.num_train == images
    assert Path(environment["PHANTOM_ROOT"]) == made.out.resolve() == tmp_path / "work_dirs" / folder / "data"
    assert trained.cfg_options == tested.cfg_options == epochs
    assert trained.resume == "auto"
    assert trained.config == tested.config
    assert Path(trained.config).is_file()
    out = capsys.readouterr().out
    assert f"Trained on {images} generated head phantoms, tested on 2 others" in out
    # 5 px, 0 px and 6 px of 100.
    assert "Mean radial error: 3.67 % of the image's longer side." in out


def test_cephalograms(calls, tmp_path, capsys):
    (tmp_path / "isbi").mkdir()
    invoke("demo", ["--data", "isbi", "--out", "here"])
    assert [name for name, _, _ in calls] == ["train", "test"]
    assert calls[0][2]["ISBI2015_ROOT"] == str(tmp_path / "isbi")
    assert calls[0][1].work_dir == "here"
    assert "150 cephalograms" in capsys.readouterr().out


def test_arguments_that_do_not_fit(calls):
    with pytest.raises(FileNotFoundError, match="--data nowhere: no such folder"):
        invoke("demo", ["--data", "nowhere"])
    with pytest.raises(ValueError, match="--quick is for phantoms"):
        invoke("demo", ["--data", ".", "--quick"])
    assert calls == []


@pytest.mark.slow
def test_it_ends_with_the_code_of_a_command_that_fails(tmp_path):
    with pytest.raises(SystemExit) as caught:
        demo._call("print-config", str(tmp_path / "nowhere.py"), environment=dict(os.environ))
    assert caught.value.code == 1
