"""A teacher scores labels by what it has learnt of annotated ones."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine import TeacherScore
from mmlandmark.engine.hooks import PseudoLabelHook
from mmlandmark.engine.teacher_score import _Cases
from mmlandmark.structures import LandmarkDataSample, LandmarkSchema

PLAIN = [dict(type="LoadImage"), dict(type="PackInputs")]


class Dots(LandmarkDataset):
    """Images of a bright, a grey and a dark dot, which are the landmarks."""

    def __init__(self, count, first=0, size=(24, 24), pipeline=PLAIN, **kwargs):
        self.count, self.first, self.size = count, first, size
        schema = LandmarkSchema("dots", ("bright", "grey", "dark"), dims=len(size))
        super().__init__(schema=schema, pipeline=pipeline, serialize_data=False, **kwargs)

    def load_records(self):
        return [self.record(n) for n in range(self.first, self.first + self.count)]

    def record(self, number):
        points = np.random.default_rng(number).uniform(3, np.array(self.size)[::-1] - 4, (3, len(self.size)))
        grid = np.stack(np.indices(self.size)[::-1], axis=-1)
        dots = [np.exp(-((grid - point) ** 2).sum(-1) / 4) for point in points]
        image = sum(120 * height * dot for height, dot in zip((1, 0.7, 0.4), dots, strict=True))
        known = dict(landmarks=points, spacing=None, ori_shape=self.size, img=image.astype(np.uint8))
        return dict(sample_id=str(number), img_path=None, **known)


def dots(annotated=8, unlabelled=6, **kwargs):
    """Return a data set, and of its unlabelled images the truth and the samples."""
    rest = Dots(unlabelled, 100, unlabelled=True, **kwargs)
    records = [LandmarkDataset.get_data_info(rest, n) for n in range(unlabelled)]
    truth = np.stack([record["hidden_landmarks"] for record in records]).astype(np.float64)
    samples = [LandmarkDataSample(metainfo=dict(sample_id=record["sample_id"])) for record in records]
    return ConcatDataset([Dots(annotated, **kwargs), rest]), truth, samples


def taught(data, **options):
    teacher = TeacherScore(**{**dict(size=24, widths=(4, 8)), **options})
    teacher.learn(data)
    return teacher


def test_right_labels_are_preferred():
    data, points, samples = dots(20, 40)
    rng = np.random.default_rng(0)
    points = points + rng.normal(0, 0.3, points.shape)
    wrong = rng.permutation(40) < 20
    for n in np.flatnonzero(wrong):
        turn = rng.uniform(0, 2 * np.pi)
        points[n, rng.integers(3)] += 6 * np.array([np.cos(turn), np.sin(turn)])
    result = taught(data, widths=(8, 16), lr=3e-3, steps=100).select(points, samples)
    kept = result.kept.any(axis=1)
    assert kept.sum() == 20
    assert (kept & ~wrong).sum() >= 17  # by chance 10 +- 1.6
    np.testing.assert_array_equal(result.points, points)
    assert result.kept[kept].all()
    assert not result.adjusted.any()
    assert np.isnan(result.deviation).all()


@pytest.mark.parametrize(("keep", "count"), [(0.5, 3), (0.01, 1), (1.0, 5)])
def test_the_best_part_of_a_round_is_kept(monkeypatch, keep, count):
    data, points, samples = dots()
    points[0, 2] = points[4] = np.nan  # a landmark, and all of an image, were not predicted
    known = {6: np.array([0.2, 0.9, 0.1, 0.9, 2.0, 0.3]), 8: np.ones(8)}
    teacher = taught(data, keep=keep)
    monkeypatch.setattr(teacher, "_train", lambda *_: None)
    monkeypatch.setattr(teacher, "scores", lambda cases: known[len(cases.images)].copy())
    kept = teacher.select(points, samples).kept
    expected = []
    for n in range(6):
        better = [m for m in (0, 1, 2, 3, 5) if (-known[6][m], m) < (-known[6][n], n)]
        expected.append(n != 4 and len(better) < count)
    assert kept.any(axis=1).tolist() == expected
    assert kept.sum() == 3 * count - expected[0]


@pytest.mark.parametrize("dims", [2, 3])
def test_the_teacher_sees_the_image_and_a_heatmap_of_every_landmark(dims):
    size, seen = ((24, 36), (12, 12)) if dims == 2 else ((12, 24, 18), (6, 8, 9))
    data, points, samples = dots(2, 2, size=size)
    points[0, 1] = np.nan
    teacher = taught(data, size=seen, sigma=1.5, steps=1)
    pairs = teacher._pairs(teacher._cases([teacher._places[s.sample_id] for s in samples], points))
    assert pairs.shape == (2, 4, *seen)
    for n in range(2):
        image = data.datasets[1].get_data_info(n)["img"].astype(np.float64)
        blocks = [side for pair in zip(seen, np.array(size) // seen, strict=True) for side in pair]
        mean = image.reshape(blocks).mean(axis=tuple(range(1, 2 * dims, 2)))
        np.testing.assert_allclose(pairs[n, 0], (mean - mean.mean()) / mean.std(), atol=0.1)
        for k in range(3):
            small = (points[n, k] + 0.5) * (np.array(seen) / size)[::-1] - 0.5
            for place in np.ndindex(seen):
                squares = ((np.array(place)[::-1] - small) ** 2).sum()
                value = 0.0 if np.isnan(squares) else np.exp(-squares / (2 * 1.5**2))
                assert abs(float(pairs[(n, 1 + k, *place)]) - value) < 1e-4
    assert teacher.select(points, samples).kept.sum() in (2, 3)


@pytest.mark.parametrize("dims", [2, 3])
def test_points_move_with_their_images_and_missing_ones_are_missing_in_both(dims):
    teacher = taught(dots(1, 1, size=(12,) * dims)[0], batch_size=5)
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(4, 20, (7, 3, dims), generator=generator).float()
    images = torch.zeros(7, 1, *[24] * dims)
    for image, (first, *_) in zip(images, points, strict=True):
        image[(0, *first.long().flip(0))] = 1
    lost = points.clone()
    lost[:, 1] = np.nan
    predicted = _Cases(-images, points.clone())
    predicted.points[:, 2] = np.nan
    cases, shown = teacher._batch(_Cases(images, lost), predicted, generator)
    assert shown.tolist() == [[True, False, False]] * 10
    assert cases.images.amax((1, *range(2, 2 + dims))).tolist() == [1] * 5 + [1, 0] * 2 + [1]
    moved = {tuple(p[0].tolist()) for p in cases.points} - {tuple(p[0].tolist()) for p in points}
    assert len(moved) > 2
    for image, point in zip(cases.images[:5], cases.points[:5], strict=True):
        assert image[(0, *point[0].long().flip(0))] == 1


def round_by_round(data, points, samples, rounds, state=None, **options):
    """Return the teacher and what it scored after some rounds."""
    teacher = TeacherScore(**{**dict(size=24, widths=(4, 8), steps=3), **options})
    if state is not None:
        teacher.load_state_dict(state)
    teacher.learn(data)
    for _ in range(rounds):
        teacher.select(points, samples)
    return teacher, teacher.scores(teacher._cases([teacher._places[s.sample_id] for s in samples], points))


def test_rounds_are_repeated_and_resumed_and_draw_no_numbers_of_the_training():
    data, points, samples = dots()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first, scores = round_by_round(data, points, samples, 1)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    np.testing.assert_array_equal(scores, round_by_round(data, points, samples, 1)[1])
    assert (scores != round_by_round(data, points, samples, 1, seed=1)[1]).any()
    whole, expected = round_by_round(data, points, samples, 2)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    parts, resumed = round_by_round(data, points, samples, 1, torch.load(file, weights_only=True))
    np.testing.assert_array_equal(resumed, expected)
    assert parts.state_dict()["rounds"] == whole.state_dict()["rounds"] == 2
    assert (expected != scores).any()


def test_a_broken_state_is_refused():
    data, points, samples = dots()
    state = round_by_round(data, points, samples, 0)[0].state_dict()
    broken = dict(state["weights"], **{"layers.0.bias": torch.full((4,), np.nan)})
    for wrong in (dict(state, rounds=-1), dict(rounds=1), dict(state, weights=broken)):
        with pytest.raises(ValueError, match=r"selector\.(rounds|weights)"):
            TeacherScore().load_state_dict(wrong)
    with pytest.raises(ValueError, match=r"a teacher of other widths or landmarks; resume with the widths"):
        round_by_round(data, points, samples, 0, state, widths=(8, 8))


def test_what_does_not_fit_is_named():
    wrong = (dict(keep=0), dict(keep=1.1), dict(steps=0), dict(batch_size=1), dict(lr=0), dict(widths=(4,)))
    for options in wrong:
        with pytest.raises(ValueError, match="TeacherScore"):
            TeacherScore(**options)
    with pytest.raises(ValueError, match=r"4 widths need images of 24 pixels a side, size is \(16, 16\)"):
        TeacherScore(size=16).learn(dots()[0])
    with pytest.raises(ValueError, match=r"TeacherScore: size must be a number.*or 2 of them"):
        TeacherScore(size=(32, 32, 32)).learn(dots()[0])
    with pytest.raises(ValueError, match="no image of the training data is annotated"):
        TeacherScore().learn(dots()[0].datasets[1])
    with pytest.raises(ValueError, match="LoadImage of the training's pipeline: it has none"):
        TeacherScore().learn(dots(pipeline=[])[0])
    with pytest.raises(
        ValueError, match=r"TeacherScore compares all images of a round: it needs by_epoch=True"
    ):
        PseudoLabelHook(by_epoch=False, selector=dict(type="TeacherScore"))


def test_an_annotated_image_that_cannot_be_read_is_left_out_where_that_is_allowed(monkeypatch):
    class Broken(Dots):
        def prepare_data(self, idx):
            if idx == 1:
                raise ValueError("image 1 is cut off")
            return super().prepare_data(idx)

    _, points, samples = dots()
    for allowed in ("raise", "skip"):
        data = ConcatDataset([Broken(4, on_error=allowed), Dots(6, 100, unlabelled=True)])
        teacher = taught(data, steps=1)
        if allowed == "raise":
            with pytest.raises(ValueError, match="image 1 is cut off"):
                teacher.select(points, samples)
            continue
        for _ in range(2):
            teacher.select(points, samples)
        assert [index for _, index in teacher._annotated] == [0, 2, 3]
        assert data.datasets[0].left_out.indices == [1]
    monkeypatch.setattr(Broken, "prepare_data", lambda self, idx: (_ for _ in ()).throw(ValueError("gone")))
    with pytest.raises(ValueError, match="no annotated image of the training data can be read"):
        taught(ConcatDataset([Broken(4, on_error="skip"), Dots(6, 100, unlabelled=True)])).select(
            points, samples
        )
