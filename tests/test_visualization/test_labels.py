"""Labels can be read, however many landmarks there are."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.visualization import labels
from mmlandmark.visualization.overlay import draw_landmarks
from mmlandmark.visualization.pen import Pen


def test_labels_do_not_cover_each_other():
    image = np.full((400, 400), 128, np.uint8)
    one = draw_landmarks(image, np.array([[200.0, 200]]), names=["landmark"])
    two = draw_landmarks(image, np.array([[200.0, 200], [200, 206]]), names=["landmark", "landmark"])

    def dark(picture):
        return (picture.max(axis=2) < 100).sum()

    assert dark(two) > 1.8 * dark(one)


def circle(count, side):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return side / 2 + 0.42 * side * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def boxes_of(monkeypatch, **arguments):
    """Return the texts that are written beside points, with their boxes (left, top, right, bottom)."""
    written = []
    plain = Pen.text

    def text(self, words, left, top, *more):
        written.append((words, np.array([left, top, *(np.array([left, top]) + self.text_size(words))])))
        plain(self, words, left, top, *more)

    monkeypatch.setattr(Pen, "text", text)
    draw_landmarks(**arguments)
    return written


@pytest.mark.parametrize("side", [400, 2000])
def test_labels_of_many_landmarks_can_be_read(monkeypatch, side):
    image, gt = np.zeros((side, side), np.uint8), circle(140, side)
    names = [f"a landmark called {k}" for k in range(140)]
    numbers = boxes_of(monkeypatch, image=image, gt=gt, names=names)
    assert len(numbers) > 100
    assert all(words.isdigit() for words, _ in numbers)
    for i, (_, box) in enumerate(numbers):
        assert all(
            labels._overlap(box, other[None]) <= 0.3 * (box[2:] - box[:2]).prod() for _, other in numbers[:i]
        )
    pred = gt + 1.0
    pred[[7, 90]] += 30
    worst = boxes_of(monkeypatch, image=image, gt=gt, pred=pred, names=names, spacing=(1, 1))
    assert 3 <= len(worst) <= 12
    assert {words.split(":")[0] for words, _ in worst} >= {names[7], names[90]}


@pytest.mark.parametrize("count", [20, 140])
def test_names_that_are_numbers_stay_where_there_is_no_room(monkeypatch, count):
    names = [str(k + 500) for k in range(count)]
    near_by = 150 + np.random.default_rng(0).normal(0, 40, (count, 2))
    written = boxes_of(monkeypatch, image=np.zeros((300, 300), np.uint8), gt=near_by, names=names)
    assert len(written) >= 20
    assert {words for words, _ in written} <= set(names)


def test_few_landmarks_keep_their_names_and_shorten_where_there_is_no_room(monkeypatch):
    image = np.zeros((300, 300), np.uint8)
    apart = boxes_of(monkeypatch, image=image, gt=circle(8, 300), names=list("abcdefgh"))
    assert [words for words, _ in apart] == list("abcdefgh")
    near_by = 150 + np.random.default_rng(0).normal(0, 4, (20, 2))
    names = [f"a long name {k}" for k in range(20)]
    close = boxes_of(monkeypatch, image=image, gt=near_by, names=names)
    assert len(close) == 20
    assert any(words.isdigit() for words, _ in close)
    assert any(words.startswith("a long") for words, _ in close)


def test_of_highlighted_landmarks_only_these_are_labelled(monkeypatch):
    gt = np.array([[50.0, 50], [150, 150], [-40, 100]])
    arguments = dict(image=np.zeros((200, 200), np.uint8), gt=gt, names=["a", "b", "c"], highlight=[1, 2])
    boxes = boxes_of(monkeypatch, **arguments)
    assert [words for words, _ in boxes] == ["b", "c"]
    assert boxes[1][1][0] >= 0  # its landmark lies outside, the label does not
