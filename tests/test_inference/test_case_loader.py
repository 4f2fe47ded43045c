"""Cases to batches: of one size, in bounded memory, with failures as values."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose

from image_writers import write_npy
from mmlandmark.inference.case_loader import CaseDataset, Failure, load_batches, reason_of
from mmlandmark.inference.image_inputs import find_cases
from mmlandmark.registry import TRANSFORMS
from mmlandmark.structures import LandmarkSchema

SCHEMA = LandmarkSchema.numbered(3)


def dataset(inputs, *steps: dict, schema=SCHEMA) -> CaseDataset:
    config = [dict(type="LoadImage", channels=1), *steps, dict(type="PackInputs")]
    return CaseDataset(find_cases(inputs), schema, Compose([TRANSFORMS.build(step) for step in config]))


def arrays(*sizes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.full(size, 7, np.uint8) for size in sizes]


def batches(inputs, size: int, workers: int = 0) -> list:
    """Return the indices of every batch, and the index alone of every failure."""
    found = load_batches(dataset(inputs), size, workers)
    return [[one.index for one in item.batch] or next(iter(item.failed)) for item in found]


def test_a_sample_knows_its_frame_and_has_no_annotation():
    (item,) = load_batches(
        dataset(arrays((20, 30)), dict(type="Resize", size=(10, 15)), dict(type="Resample")), 4
    )
    (one,) = item.batch
    assert one.inputs.shape == (1, 10, 15)
    assert one.index == 0
    assert one.sample.ori_shape == (20, 30)
    assert one.sample.sample_id == "array_1"
    assert "gt_landmarks" not in one.sample
    np.testing.assert_allclose(one.sample.input_from_original @ [29, 19, 1], [14.25, 9.25, 1])


def test_batches_are_of_one_size():
    a, b = (8, 8), (8, 9)
    assert batches(arrays(a, a, a, a, a), 2) == [[0, 1], [2, 3], [4]]
    assert batches(arrays(a, b, a, b, b), 2) == [[0, 2], [1, 3], [4]]


def test_a_lonely_size_does_not_wait_for_the_end():
    sizes = [(9, 9), *[(8, 8)] * 30, (9, 9)]
    found = batches(arrays(*sizes), 2)
    assert found.index([0]) == 3, "when four batches' worth of cases were loaded"
    assert sorted(index for batch in found for index in batch) == list(range(32))


def test_batches_after_a_settled_one_depend_on_nothing_before():
    """Whoever is killed after it and begins with the next case sees the same batches."""
    rng = np.random.default_rng(0)
    inputs = arrays(*[(8, 8 + n) for n in rng.integers(0, 3, 60)])
    inputs[17] = inputs[40] = np.zeros((2, 3, 4, 5, 6), np.uint8)  # failures
    whole = [
        ([one.index for one in item.batch], list(item.failed), item.settled)
        for item in load_batches(dataset(inputs), 3)
    ]
    assert sorted(i for batch, failed, _ in whole for i in (*batch, *failed)) == list(range(60))
    assert whole[-1][2]
    done, borders = 0, 0
    for number, (batch, failed, settled) in enumerate(whole):
        done += len(batch) + len(failed)
        if not settled or done == 60:
            continue
        rest = [
            ([one.index + done for one in item.batch], [index + done for index in item.failed], item.settled)
            for item in load_batches(dataset(inputs[done:]), 3)
        ]
        assert rest == whole[number + 1 :]
        borders += 1
    assert borders >= 4


def test_many_sizes_do_not_pile_up():
    """All sizes differ: no batch ever fills, so each must leave after some others."""
    found = batches(arrays(*[(8, 8 + n) for n in range(40)]), 2)
    assert found == [[n] for n in range(40)]
    waiting = load_batches(dataset(arrays(*[(8, 8 + n) for n in range(40)])), 2)
    assert next(waiting).batch[0].index == 0, "it comes before the last was loaded"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failure_is_a_value_and_the_others_go_on(tmp_path, workers):
    for name in ("a", "c"):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    write_npy(tmp_path / "d.npy", np.zeros((5, 6, 7), np.uint8), None)
    assert batches(tmp_path, 2, workers) == [1, [0, 2], 3]
    found = load_batches(dataset(tmp_path), 2, workers)
    failures = [failure for item in found for failure in item.failed.values()]
    assert [failure.sample_id for failure in failures] == ["b", "d"]
    assert failures[0].image == str(tmp_path / "b.png")
    assert "cannot be read" in failures[0].reason
    assert failures[1].reason == "it is a volume of shape (5, 6, 7), but the model takes images"


def test_an_image_is_no_volume():
    (item,) = load_batches(dataset(arrays((8, 9)), schema=LandmarkSchema.numbered(3, dims=3)), 1)
    ((index, failure),) = item.failed.items()
    assert (index, failure.reason) == (0, "it is an image of shape (8, 9), but the model takes volumes")


def test_a_dead_worker_is_one_sentence():
    cases = CaseDataset(find_cases(arrays((8, 8))), SCHEMA, lambda record: os._exit(9))
    with pytest.raises(ValueError, match=r"a process that loads images died .*: run again with 0 workers"):
        list(load_batches(cases, 1, num_workers=1))


@pytest.mark.slow
def test_workers_do_not_wait_for_threads_of_their_parent(tmp_path):
    """OpenCV's threads do not come along in a fork; a worker that waits for them waits for ever."""
    code = """
import cv2
import numpy as np
from mmlandmark.datasets.phantom import PhantomDataset
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.testing import tiny_model

cv2.setNumThreads(4)
film = PhantomDataset("ceph", 1, size=(400, 300)).get_data_info(0)["img"]  # this starts the threads
assert len(LandmarkInferencer(tiny_model(), "cpu", num_workers=2)([film, film, film])) == 3
assert cv2.getNumThreads() == 4
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_reasons_are_one_sentence():
    assert reason_of(ValueError("it is\n broken")) == "it is broken"
    assert reason_of(KeyError("landmarks")) == "KeyError: landmarks"
    assert reason_of(PermissionError(13, "Permission denied", "a.png")) == "Permission denied"
    assert reason_of(ZeroDivisionError("division")) == "ZeroDivisionError: division"
    assert isinstance(Failure("a", None, "why"), Failure)
