"""Pictures of a check: what is labelled on them."""

from __future__ import annotations

import pytest

from mmlandmark.datasets import PhantomDataset
from mmlandmark.visualization import check_pictures


@pytest.mark.parametrize(
    ("questioned", "names", "highlight"),
    [([], [str(k) for k in range(19)], None), ([2], None, [2])],
)
def test_points_of_a_whole_shape_are_numbered(tmp_path, monkeypatch, questioned, names, highlight):
    calls = []
    draw = check_pictures.draw_landmarks
    monkeypatch.setattr(check_pictures, "draw_landmarks", lambda *a, **k: calls.append(k) or draw(*a, **k))
    data = PhantomDataset("ceph", num_samples=2, size=(64, 48))
    sample = data.get_data_info(1)["sample_id"]
    finding = dict(check="mirrored shape", split="train", sample_id=sample, landmarks=questioned)
    drawn = check_pictures.draw_check_pictures(dict(train=data), dict(findings=[finding]), tmp_path)
    assert list(drawn.samples) == [("train", sample)]
    assert (tmp_path / drawn.samples["train", sample]).is_file()
    assert list(calls[-1]["names"]) == (names or list(data.schema.landmarks))
    assert calls[-1]["highlight"] == highlight
