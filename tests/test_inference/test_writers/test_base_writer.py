"""What all writers share: checks, names of images, whole files."""

from __future__ import annotations

import os
import signal
import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.inference.writers import BaseWriter, check_formats, output_path, write_predictions
from mmlandmark.inference.writers.base_writer import coordinates, probably_absent, significant, visibility
from mmlandmark.registry import WRITERS, NotRegisteredError
from mmlandmark.structures import LandmarkSchema
from test_inference.predictions import random_prediction, schema_of

FORMATS = sorted(WRITERS.module_dict)


def cases(count=3, dims=2, **changes):
    rng = np.random.default_rng(0)
    return [random_prediction(rng, schema_of(dims), f"case {n}", **changes) for n in range(count)]


def contents(path):
    files = sorted(path.rglob("*")) if path.is_dir() else [path] * path.exists()
    return {file.name: file.read_bytes() for file in files if file.is_file()}


@pytest.mark.parametrize("format", FORMATS)
def test_the_number_of_cases_is_returned_and_an_iterator_is_consumed_once(tmp_path, format):
    every = cases()
    path = output_path(tmp_path, format)
    assert write_predictions(iter(every), every[0].schema, path, format) == 3
    first = contents(path)
    assert first
    assert write_predictions(every, every[0].schema, path, format) == 3
    assert contents(path) == first


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_on_the_way_leaves_the_old_file_whole(tmp_path, format):
    every = cases()
    path = output_path(tmp_path, format)
    write_predictions(every[:1], every[0].schema, path, format)
    old = contents(path)
    with pytest.raises(ValueError, match=r"two predictions have the id 'case 0'"):
        write_predictions([every[0], every[0]], every[0].schema, path, format)
    assert contents(path) == old
    assert not [p for p in tmp_path.rglob(".*")]


@pytest.mark.parametrize("format", FORMATS)
def test_a_kill_leaves_the_old_file_whole(tmp_path, format):
    every = cases()
    path = output_path(tmp_path, format)
    write_predictions(every[:1], every[0].schema, path, format)
    old = contents(path)

    def killed():
        yield replace(every[0], points=every[0].points + 1)
        os.kill(os.getpid(), signal.SIGKILL)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads of torch, which sleep
        child = os.fork()
    if child == 0:
        write_predictions(killed(), every[0].schema, path, format)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    now = {name: content for name, content in contents(path).items() if not name.startswith(".")}
    assert now.keys() == old.keys()
    if path.is_file():
        assert now == old


@pytest.mark.parametrize("format", FORMATS)
def test_many_cases_need_the_memory_of_a_few(tmp_path, format):
    one = cases(1)[0]

    def peak(count):
        tracemalloc.start()
        every = (replace(one, sample_id=f"case {n}") for n in range(count))
        assert write_predictions(every, one.schema, output_path(tmp_path, format), format) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)  # imports and caches
    assert peak(300) - peak(20) < 150_000, "every case takes more than 500 bytes"


def test_other_landmarks_and_unknown_formats_are_refused(tmp_path):
    one = cases(1)[0]
    with pytest.raises(ValueError, match=r"prediction 'case 0' has 13 landmarks of schema 'odd names'"):
        write_predictions([one], LandmarkSchema.numbered(13), tmp_path / "a.json", "json")
    with pytest.raises(NotRegisteredError, match=r"'jsn' is not in the .* registry of 'writer'.* json"):
        write_predictions([one], one.schema, tmp_path / "a.json", "jsn")
    assert not list(tmp_path.iterdir())


def test_formats_are_checked_before_anything_is_predicted():
    check_formats(FORMATS, schema_of(2))
    check_formats(["json", "csv", "slicer"], schema_of(3))
    with pytest.raises(ValueError, match=r"coco.json: this format holds points of 2 coordinates"):
        check_formats(["json", "coco"], schema_of(3))
    with pytest.raises(NotRegisteredError, match="'jsn'"):
        check_formats(["jsn"], schema_of(2))


def test_a_format_without_a_way_to_write_is_no_format():
    with pytest.raises(TypeError, match="write_stream"):
        type("Half", (BaseWriter,), {})()


def test_names_of_images(tmp_path):
    def name(image, image_dir):
        return WRITERS.build(dict(type="json", image_dir=image_dir)).image_name(replace(one, image=image))

    one = cases(1)[0]
    assert name(str(tmp_path / "a" / "1.png"), tmp_path) == "a/1.png"
    assert name(str(tmp_path / "a" / "1.png"), tmp_path / "a") == "1.png"
    assert name(str(tmp_path / "ab" / "1.png"), tmp_path / "a") == (tmp_path / "ab" / "1.png").as_posix()
    assert name("a/1.png", None) == "a/1.png"
    assert name(None, tmp_path) is None
    assert name("a\udcff.png", None) == "a?.png"


def test_visibility_and_numbers():
    one = replace(
        cases(1)[0], schema=LandmarkSchema.numbered(3), points=np.array([[1, 2], [np.nan] * 2, [np.nan] * 2]),
        scores=np.zeros(3), presence=np.array([0.2, 0.2, 0.9]), spread=None, deviation=None, radii={},
        regions={}, reasons=(),
    )  # fmt: skip
    # What a model thinks of the presence is no annotation.
    assert visibility(one) == [1, 0, 0]
    assert probably_absent(one).tolist() == [False, True, False]
    assert visibility(replace(one, presence=None)) == [1, 0, 0]
    assert not probably_absent(replace(one, presence=None)).any()
    marked = replace(one, scores=np.full(3, np.nan), presence=np.array([np.nan, 0, np.nan]))
    assert visibility(marked) == [1, -1, 0]
    assert not probably_absent(marked).any()
    assert coordinates(np.array([[1.23456789, -0.0], [np.nan, 1]])) == [[1.234568, 0.0], None]
    assert str(coordinates(np.array([[-1e-9, -0.0]]))) == "[[0.0, 0.0]]"
    assert significant(np.array([1 / 3, np.nan, 12345678.0])) == [0.333333, None, 12345700.0]
