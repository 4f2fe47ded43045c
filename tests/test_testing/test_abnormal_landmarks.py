"""Moved landmarks are counted."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.testing.abnormal_landmarks import EDGES, measure, moved, to_markdown, ways_of

K = 24
BASE = np.random.default_rng(7).normal(size=(K, 2)) * 40


def shapes(count: int, seed: int) -> np.ndarray:
    """Return shapes of 24 landmarks with two modes, in mm."""
    rng = np.random.default_rng(seed)
    ways = np.random.default_rng(8).normal(size=(2, 2 * K)) * 3
    noise = rng.normal(0, 0.3, (count, K, 2))
    return BASE + (rng.normal(size=(count, 2)) @ ways).reshape(count, K, 2) + noise


def test_landmarks_are_moved_by_known_distances():
    given = np.zeros((200, 12, 3))
    points, distance = moved(given, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(points, axis=2), distance)
    counts = (distance > 0).sum(axis=1)
    assert (counts.min(), counts.max()) == (1, 5)
    assert EDGES[0] <= distance[distance > 0].min() < 6 < 49 < distance.max() <= EDGES[-1]
    assert np.abs(points[distance > 0].mean(axis=0)).max() < 3  # in any direction
    assert not given.any()


@pytest.mark.slow
def test_a_count_that_can_be_done_by_hand():
    learnt, held_out = shapes(60, 0), shapes(10, 1)
    (row,) = [row for row in measure(learnt, held_out, seeds=[4]) if row["way"] == "agreement"]
    points, distance = moved(held_out, np.random.default_rng([4, 10]))
    way = ways_of(learnt)["agreement"]
    kept, wrong = way(points).kept, distance > 0
    assert row["recall"] == pytest.approx((wrong & ~kept).sum() / wrong.sum())
    assert row["alarms_beside_wrong"] == pytest.approx((~wrong & ~kept).sum() / (~wrong).sum())
    assert row["alarms"] == pytest.approx((~way(held_out).kept).mean())
    assert row["error_before"] == pytest.approx(distance.mean())
    assert row["error_of_kept"] == pytest.approx(distance[kept].mean())
    far = distance > 20
    assert row["recall_by_distance"][2] == pytest.approx((far & ~kept).sum() / far.sum())


def test_what_is_found_and_what_is_spoilt():
    rows = {row["way"]: row for row in measure(shapes(60, 0), shapes(15, 1))}
    assert all(row["recall"] > 0.8 for row in rows.values())
    assert rows["adjustment"]["alarms_beside_wrong"] > 0.2 > 0.05 > rows["agreement"]["alarms_beside_wrong"]
    both = rows["agreement, then adjustment"]
    assert both["error_adjusted"] < 0.5 * both["error_before"]
    assert rows["agreement"]["error_adjusted"] == pytest.approx(rows["agreement"]["error_before"])
    assert both["noisy_of_kept"] < both["noisy_before"]
    table = to_markdown([dict(data="some", learnt=60, **row) for row in rows.values()]).splitlines()
    assert len(table) == 6
    assert table[2].startswith("| some | 60 | adjustment |")


def test_nothing_that_is_kept_has_no_error():
    (row, *_) = measure(shapes(60, 0), shapes(6, 1))
    cells = to_markdown([dict(row, data="x", learnt=60, noisy_of_kept=None)]).splitlines()[-1].split("|")
    assert cells[-3].strip() == "-"
