"""What is measured against each other computes the same."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.testing import op_contenders
from mmlandmark.testing.op_contenders import FAMILIES, OURS, dense_gaussian, landmarks_of

SHAPE = (1, 2, 24, 20)


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch):
    """Compiling takes longer than all the rest."""
    monkeypatch.setattr(torch, "compile", lambda function: function)


def test_landmarks_lie_inside_of_their_maps_and_are_the_same_every_time():
    points = landmarks_of((3, 50, 24, 20), "cpu")
    assert points.shape == (3, 50, 2)
    assert (points >= 0).all()
    assert (points < torch.tensor([20, 24])).all()
    assert torch.equal(points, landmarks_of((3, 50, 24, 20), "cpu"))


def test_the_plain_gaussian_is_highest_at_its_landmark():
    maps = dense_gaussian(torch.tensor([[[5.0, 7.0]]]), (1, 1, 24, 20), 2.0)
    assert maps[0, 0, 7, 5] == 1
    assert maps[0, 0, 7, 7] == pytest.approx(torch.exp(torch.tensor(-0.5)).item())


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "step"])
def test_all_contenders_of_a_family_agree(family):
    torch.manual_seed(0)
    calls = FAMILIES[family](SHAPE, "cpu")
    ours = calls[OURS]()
    ours = ours[0] if isinstance(ours, tuple) else ours
    others = [name for name in calls if name.startswith(("PyTorch", "torch.compile", "NumPy", "kornia"))]
    assert others
    for name in others:
        theirs = calls[name]()
        theirs = theirs[0] if isinstance(theirs, tuple) else theirs
        # A window ends at three sigma, and is drawn around whole pixels.
        bound = 0.2 if "window" in name else 2e-3 if "heatmap" in family else 1e-4
        torch.testing.assert_close(
            theirs, ours, rtol=1e-3, atol=bound, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_a_training_step_runs_both_ways():
    for step in FAMILIES["step"]((32, 32), "cpu").values():
        step()


def test_a_package_that_is_not_installed_is_left_out():
    assert op_contenders.optional("no_such_package") is None
    assert op_contenders.optional("json").__name__ == "json"
