"""A few landmarks without annotation, round by round."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import PhantomDataset
from mmlandmark.engine import label_pictures
from mmlandmark.engine.label_pictures import draw_labels
from mmlandmark.engine.label_rounds import LabelRound
from mmlandmark.shape import Regulated
from mmlandmark.visualization import label_figure


@pytest.mark.parametrize(("kind", "size"), [("ceph", (64, 48)), ("head", (24, 28, 32))])
def test_landmarks_that_moved_most_are_shown_round_by_round(tmp_path, monkeypatch, kind, size):
    part = PhantomDataset(kind, 6, size, unlabelled=True, pipeline=[], serialize_data=False)
    ids = [part.get_data_info(n)["sample_id"] for n in range(6)]
    truth = np.stack([part.get_data_info(n)["hidden_landmarks"] for n in range(6)])
    for epoch in range(7):
        found = truth.copy()
        for n in range(6):
            found[n, n] += (6 - epoch) * (n + 1) / 6
        found[5] = np.nan if epoch == 0 else found[5]
        kept = np.isfinite(found).all(axis=2)
        kept[:, 4] &= epoch > 3
        kept[3] = False
        chosen = Regulated(found, np.zeros(kept.shape), kept, np.zeros(6, dtype=bool))
        made = LabelRound.of(epoch, ids, found, chosen, np.tile(size[::-1], (6, 1)))
        # Batches may have left one out.
        made.among(ids[:5] if epoch == 0 else ids).write(
            tmp_path / f"epoch_{epoch}.json", part.schema.landmarks
        )
    seen = []
    plot = label_figure.plot_labels
    monkeypatch.setattr(label_figure, "plot_labels", lambda *given: seen.append(given) or plot(*given))
    path = draw_labels([part], tmp_path, range(7))
    assert path == tmp_path / "labels.png"
    assert cv2.imread(str(path)).shape[0] > 400
    ((rows, titles, _),) = seen
    assert titles == [f"after {n} epochs" for n in (0, 2, 4, 6)]
    # The last image has no prediction in the first round, and nothing is learnt from that before the fifth.
    shown = [f"{ids[n]}\n{part.schema.landmarks[n]}" for n in (4, 2, 1, 0)]
    assert [row["name"] for row in rows] == shown
    assert rows[0]["kept"] == [False, False, True, True]
    np.testing.assert_allclose(rows[0]["predicted"][-1], rows[0]["truth"], atol=1e-3)
    assert all(row["image"].dtype == np.uint8 and row["image"].shape[2:] == (3,) for row in rows)
    assert all(np.ptp(row["image"]) > 100 for row in rows)


def test_of_one_round_different_landmarks_are_shown_masked_ones_first(tmp_path, monkeypatch):
    part = PhantomDataset("ceph", 5, (64, 48), unlabelled=True, pipeline=[], serialize_data=False)
    ids = [part.get_data_info(n)["sample_id"] for n in range(5)]
    found = np.stack([part.get_data_info(n)["hidden_landmarks"] for n in range(5)])
    kept = np.ones((5, 19), dtype=bool)
    kept[3, 7] = kept[4, 7] = False
    found[0, 0] = np.nan  # a landmark that was not found cannot be shown
    chosen = Regulated(found, np.zeros((5, 19)), kept, np.zeros(5, dtype=bool))
    made = LabelRound.of(0, ids, found, chosen, np.tile((48, 64), (5, 1)))
    made.write(tmp_path / "epoch_0.json", part.schema.landmarks)
    seen = []
    monkeypatch.setattr(label_figure, "plot_labels", lambda *given: seen.append(given[0]) or given[2])
    draw_labels([part], tmp_path, [0])
    names = [f"{ids[n]}\n{part.schema.landmarks[k]}" for n, k in ((3, 7), (1, 0), (4, 7), (0, 1))]
    assert [row["name"] for row in seen[0]] == names
    assert [row["kept"] for row in seen[0]] == [[False], [True], [False], [True]]


def test_an_image_that_is_gone_is_left_out(tmp_path, monkeypatch):
    def gone(results):
        raise FileNotFoundError("gone")

    part = PhantomDataset("ceph", 1, (64, 48), unlabelled=True, pipeline=[], serialize_data=False)
    info = part.get_data_info(0)
    found = np.zeros((1, 19, 2))
    chosen = Regulated(found, found[..., 0], np.ones((1, 19), dtype=bool), np.zeros(1, dtype=bool))
    made = LabelRound.of(0, [info["sample_id"]], found, chosen, np.array([[48, 64]]))
    made.write(tmp_path / "epoch_0.json", part.schema.landmarks)
    assert draw_labels([part], tmp_path, [3]) is None, "files that are gone are left out"
    monkeypatch.setattr(label_pictures, "load_step", lambda part: gone)
    assert draw_labels([part], tmp_path, [0, 3]) is None
