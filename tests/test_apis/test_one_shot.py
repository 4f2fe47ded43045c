"""The report of a one-shot detection says what is known, and which stage is better."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmlandmark.apis import one_shot
from mmlandmark.apis.one_shot import OneShotStep, labels_sentence, verdict


def test_it_is_said_which_is_better():
    ssl, student = dict(mre=4.0, sdr_2mm=50.0), {"mre": 3.0, "sdr_2mm": 62.5}
    text = verdict(dict(ssl=ssl, student=student), "mm", 30)
    assert "| labels: like the template" in text
    assert "62.50 |" in text
    assert "within 2mm (%)" in text
    assert "its mean error is 25.0 % smaller" in text
    assert "chance" not in text
    assert "fewer" not in text
    mixed = verdict(dict(ssl=dict(ssl, sdr_2mm=70.0), student=student), "mm", 30)
    assert "25.0 % smaller. But of its landmarks fewer are within 2mm." in mixed
    worse = verdict(dict(ssl=student, student=ssl), "mm", 5)
    assert "The detector is not better than its labels" in worse
    assert "These are 5 images only" in worse
    assert "Nobody knows how good it is" in verdict({}, "px", 0)


def test_of_several_labellers_the_median_is_compared():
    errors = dict(encoder=6, ssl_point=5, ssl=2, median=4, student=3)
    text = verdict({name: dict(mre=error) for name, error in errors.items()}, "mm", 30)
    assert "its mean error is 25.0 % smaller" in text
    errors = [
        float(line.split("|")[2]) for line in text.splitlines() if line.startswith("| ") and "." in line
    ]
    assert errors == [4, 3, 6, 5, 2]
    assert "| labels: the median of the 3 below" in text


def test_how_many_labels_count():
    text = labels_sentence(dict(landmarks=200, masked=50, images=10), "they agree")
    assert (
        text == "The detector has learnt from 75 % of 200 landmarks that were found in 10 images: they agree."
    )
    assert labels_sentence(dict(landmarks=0, masked=0, images=3), "why").startswith("The detector")


def test_a_test_that_fails_does_not_take_the_detector_along(tmp_path, monkeypatch):
    """It comes last, and all of the training is behind it."""

    def no_test(*_, **__):
        raise ValueError("an image cannot be read any more")

    step = OneShotStep(Config(), tmp_path, tmp_path / "a.mml.pth", dict(known=3))
    monkeypatch.setattr(step, "_stage", lambda node, child: (Config(), Path(child.name)))
    written = SimpleNamespace(save=lambda path: Path(path).write_text("the detector"))
    monkeypatch.setattr(one_shot, "model_of_run", lambda config, checkpoint: written)
    monkeypatch.setattr(one_shot, "folder_of_test", lambda config, checkpoint: tmp_path)
    monkeypatch.setattr(one_shot, "test_config", no_test)
    node = SimpleNamespace(children=[SimpleNamespace(name=name) for name in ("ssl", "student")])
    with pytest.raises(ValueError, match="cannot be read any more"):
        step.run(node)
    assert (tmp_path / "a.mml.pth").read_text() == "the detector"
