"""mmlandmark predict, as a new user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
import torch

from mmlandmark.cli import invoke
from mmlandmark.cli.predict import _part, _view
from mmlandmark.datasets.shards import ShardWriter
from mmlandmark.testing import tiny_model
from mmlandmark.utils.command_line import command_line


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Write phantoms as the documentation tells."""
    folder = tmp_path_factory.mktemp("predict") / "data"
    words = ["--kind", "spine", "--num-train", "0", "--num-test", "3", "--size", "128", "96"]
    invoke("phantoms", [*words, "--out", str(folder)])
    return folder / "images"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "spine.mml.pth"
    tiny_model(68).save(path)
    return path


def images(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_without_a_folder_the_landmarks_are_printed(data, model, mmlandmark_command):
    done = mmlandmark_command("predict", model, images(data)[0], "--device", "cpu")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{images(data)[0].stem} (96 x 128 pixels)"
    assert [cell.strip() for cell in lines[2].split("|")[1:5]] == ["landmark", "x", "y", "score"]
    assert sum(line.startswith("| ") for line in lines) >= 68 + 2


def test_a_folder_of_images_into_a_folder(data, model, tmp_path, mmlandmark_command):
    out = tmp_path / "out"
    words = ["--formats", "json", "csv", "--overlays", "--flip", "--views", "plain", "rotation=3,scale=0.95"]
    done = mmlandmark_command("predict", model, data, "-o", out, *words, "--spacing", "0.5", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 of 3 images in ")
    assert "images/s" in done.stdout
    for name in ("predictions.json", "predictions.csv", "summary.json"):
        assert f"wrote {out / name}" in done.stdout
        assert (out / name).is_file()
    assert len(list((out / "overlays").glob("*.png"))) == 3
    options = json.loads((out / "summary.json").read_text())["options"]
    assert options["views"] == [{}, dict(rotation=3.0, scale=0.95)]
    assert options["flip"] is True
    assert options["spacing"] == [0.5, 0.5]
    again = mmlandmark_command("predict", model, data, "-o", out, *words, "--spacing", "0.5")
    assert again.returncode == 0
    assert again.stdout.startswith("all 3 images were predicted before")


def test_a_broken_image_and_two_of_one_name(data, model, tmp_path, mmlandmark_command):
    films = tmp_path / "films"
    for folder in ("a", "b"):
        (films / folder).mkdir(parents=True)
        (films / folder / "1.png").write_bytes(images(data)[0].read_bytes())
    (films / "broken.png").write_bytes(b"\x89PNG")
    done = mmlandmark_command("predict", model, films, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert f"failed: image '{films / 'broken.png'}' cannot be read" in done.stderr
    assert "3 of 3 images" in done.stdout
    assert "1 FAILED" in done.stdout
    samples = json.loads((tmp_path / "out" / "predictions.json").read_text())["samples"]
    assert [sample["id"] for sample in samples] == ["a/1", "b/1"]
    printed = mmlandmark_command("predict", model, films)
    assert printed.returncode == 1
    assert printed.stdout.count("pixels)") == 2
    assert "failed: " in printed.stderr


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["{empty}"], ["holds no image"]),
        (["nothing.png"], ["'nothing.png' does not exist"]),
        (["{film}", "-o", "{empty}", "--formats", "xls"], ["xls"]),
        (["{film}", "--overlays"], ["need a folder: -o OUT"]),
        (["{film}", "--device", "abacus"], ["there is no device 'abacus'"]),
        (["{film}", "--levels", "0.9"], ["is not calibrated"]),
        (["{film}", "-o", "{film}/out"], ["Not a directory"]),
    ],
)
def test_errors_are_one_line(words, parts, data, model, tmp_path, mmlandmark_command, assert_one_line):
    (tmp_path / "empty").mkdir()
    places = dict(empty=tmp_path / "empty", film=images(data)[0])
    done = mmlandmark_command("predict", model, *[word.format(**places) for word in words])
    assert_one_line(done, *parts)
    assert not list((tmp_path / "empty").iterdir()), "nothing is left behind"


def test_a_folder_that_cannot_be_written(data, model, mmlandmark_command, assert_one_line):
    if not Path("/sys").is_dir():
        pytest.skip("/sys, where nobody may write, is not there")
    done = mmlandmark_command("predict", model, data, "-o", "/sys/predictions")
    assert_one_line(done, "/sys/predictions: ")


def test_a_folder_with_the_results_of_another_model(
    data, model, tmp_path, mmlandmark_command, assert_one_line
):
    tiny_model(68, seed=1).save(tmp_path / "other.mml.pth")
    assert mmlandmark_command("predict", model, data, "-o", tmp_path / "out").returncode == 0
    refused = mmlandmark_command("predict", tmp_path / "other.mml.pth", data, "-o", tmp_path / "out")
    assert_one_line(refused, "holds predictions of another 'untrained'", "--overwrite replaces them")
    words = ("-o", tmp_path / "out", "--overwrite")
    assert mmlandmark_command("predict", tmp_path / "other.mml.pth", data, *words).returncode == 0


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(data, model, tmp_path, mmlandmark_command):
    films = tmp_path / "films"
    films.mkdir()
    for number in range(12):
        (films / f"{number:02d}.png").write_bytes(images(data)[number % 3].read_bytes())
    out, journal = tmp_path / "out", tmp_path / "out" / "journal.jsonl"
    words = [model, films, "--batch-size", "1", "--overlays", "--device", "cpu", "--workers", "1", "-o"]
    process = subprocess.Popen(
        command_line("predict", *words, out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ, OMP_NUM_THREADS=str(torch.get_num_threads())),  # another number, other digits
    )
    limit = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < limit
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = journal.read_bytes().count(b"\n") - 1
    assert 2 <= done < 12
    assert not (out / "predictions.json").exists()
    resumed = mmlandmark_command("predict", *words, out)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{out}: {done} of 12 images are predicted already" in resumed.stderr
    assert mmlandmark_command("predict", *words, tmp_path / "whole").returncode == 0
    for name in ("predictions.json", "predictions.csv", "summary.json", "journal.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert len(list((out / "overlays").iterdir())) == 12


def test_stopped_by_hand_it_says_how_to_go_on(data, model, tmp_path, monkeypatch, mmlandmark_command):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmlandmark.inference.inferencer.LandmarkInferencer.batches", stopped)
    done = mmlandmark_command("predict", model, data, "-o", tmp_path / "out")
    assert done.returncode == 130
    assert done.stderr == f"stopped: the same command goes on where {tmp_path / 'out'} ends\n"


def test_help_is_there_at_once():
    begin = time.monotonic()
    done = subprocess.run(command_line("predict", "--help"), capture_output=True, text=True, check=True)
    assert time.monotonic() - begin < 1
    assert "-o OUT" in done.stdout
    code = "import sys; from mmlandmark.cli.entry import make_parser; make_parser('predict')"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("plain", {}),
        ("rotation=-5", dict(rotation=-5.0)),
        ("rotation=0/0/5,scale=1.1", dict(rotation=[0.0, 0.0, 5.0], scale=1.1)),
    ],
)
def test_views_are_words(text, view):
    assert _view(text) == view


@pytest.mark.parametrize("text", ["", "rotate=5", "rotation", "scale=big", "rotation=5;scale=1"])
def test_wrong_views_are_named(text):
    with pytest.raises(ArgumentTypeError, match="is no view: write plain"):
        _view(text)


def test_shards_part_by_part(data, model, tmp_path, mmlandmark_command, assert_one_line):
    with ShardWriter(tmp_path / "shards", 1) as writer:  # a shard for every image
        for path in images(data):
            writer.add(dict(id=path.stem, landmarks=None), path.suffix, path.read_bytes())
        index = writer.finish(None)
    out = tmp_path / "out"
    for part, count in (("1/2", 2), ("2/2", 1)):
        words = ("--shards", index, "--part", part, "-o", out, "--workers", "0")
        done = mmlandmark_command("predict", model, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{count} of {count} images in ")
    again = mmlandmark_command("predict", model, "--shards", index, "-o", out)
    assert again.stdout.startswith("all 3 images were predicted before")
    (tmp_path / "shards" / "shard-000001.tar").unlink()
    broken = mmlandmark_command("predict", model, "--shards", index, "-o", tmp_path / "new")
    assert_one_line(broken, "shard-000001.tar is missing")


@pytest.mark.slow
def test_a_job_array_of_which_a_part_is_killed_goes_on(data, model, tmp_path, mmlandmark_command):
    """Two parts run at once; one is killed, and started again while the other still runs."""
    with ShardWriter(tmp_path / "shards", 25_000) as writer:  # two films in each
        for number in range(24):
            path = images(data)[number % 3]
            writer.add(dict(id=f"f{number}", landmarks=None), path.suffix, path.read_bytes())
        index = writer.finish(None)
    shards = len(writer.shards)
    assert shards >= 8
    out = tmp_path / "out"
    words = [model, "--shards", index, "--batch-size", "1", "--device", "cpu", "--workers", "1"]

    def begun(part):
        return subprocess.Popen(
            command_line("predict", *words, "--part", f"{part}/2", "-o", out),
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env=dict(os.environ, OMP_NUM_THREADS=str(torch.get_num_threads())),
        )  # fmt: skip

    def finished(part):
        return [n for n in range(part - 1, shards, 2) if (out / f"shard-{n:06d}.done.json").exists()]

    parts = {part: begun(part) for part in (1, 2)}
    try:
        waiting, limit = {1, 2}, time.monotonic() + 240
        while waiting:
            assert time.monotonic() < limit
            for part in [part for part in waiting if finished(part)]:
                parts[part].send_signal(signal.SIGSTOP)
                waiting.remove(part)
            time.sleep(0.002)
        assert [process.poll() for process in parts.values()] == [None, None], "both are at work"
        before = finished(1)
        assert 0 < len(before) < len(range(0, shards, 2))
        assert len(finished(2)) < len(range(1, shards, 2))
        parts[1].kill()
        assert parts[1].wait() == -signal.SIGKILL
        times = [(out / f"shard-{n:06d}.predictions.json").stat().st_mtime_ns for n in before]
        parts[2].send_signal(signal.SIGCONT)
        parts[1] = begun(1)
        for part, process in parts.items():
            assert process.wait(240) == 0, part
    finally:
        for process in parts.values():
            process.kill()
            process.wait()
    assert [(out / f"shard-{n:06d}.predictions.json").stat().st_mtime_ns for n in before] == times
    assert mmlandmark_command("predict", *words, "-o", tmp_path / "whole").returncode == 0
    for name in ("out", "whole"):
        joined = tmp_path / f"{name}.csv"
        assert mmlandmark_command("convert", tmp_path / name, joined, "--to", "csv").returncode == 0
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert len((tmp_path / "out.csv").read_text().splitlines()) > 24
    for path in (tmp_path / "whole").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "give image files, patterns or folders, or --shards INDEX"),
        (["a.png", "--shards", "index.json", "-o", "out"], "or --shards INDEX in their place"),
        (["a.png", "--part", "1/2"], "--part is a part of shards"),
        (["--shards", "index.json"], "--shards needs a folder"),
        (["--shards", "index.json", "-o", "out", "--overlays"], "mmlandmark convert OUT FILE"),
    ],
)
def test_shards_and_images_do_not_mix(words, part):
    with pytest.raises(ValueError, match=part):
        invoke("predict", ["ceph19", *words])


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "-1/2", "1/", ""])
def test_a_part_is_one_of_several(text):
    with pytest.raises(ArgumentTypeError, match=r"write 1/8, 2/8, \.\.\. 8/8"):
        _part(text)
    assert _part("3/8") == (3, 8)
