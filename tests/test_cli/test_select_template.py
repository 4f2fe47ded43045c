"""mmlandmark select-template: what it prints, and its errors."""

from __future__ import annotations

import cv2
import pytest

from mmlandmark.datasets import PhantomDataset


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Return a folder of a few heads."""
    folder = tmp_path_factory.mktemp("films")
    dataset = PhantomDataset("ceph", num_samples=12, size=(96, 80))
    for n in range(12):
        cv2.imwrite(str(folder / f"film{n:02d}.png"), dataset.get_data_info(n)["img"])
    return folder


def test_ranking_and_choice_are_printed(mmlandmark_command, films, tmp_path):
    done = mmlandmark_command("select-template", films, "-o", "choice", "--number", "2", "--points", "40")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("12 images compared by SIFT.")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == ["rank", "image", "coverage"]
    assert [row[0] for row in rows[2:]] == [*map(str, range(1, 10)), "...", "12"]
    best = rows[2]
    assert f"template 1: {best[1]}, coverage {best[2]}" in lines
    assert (tmp_path / "choice" / "chosen.txt").read_text().split("\n")[0] == best[1]
    assert any(line.startswith("least like any of them: film") for line in lines)
    assert [line for line in lines if line.startswith("wrote")] == [
        "wrote choice/ranking.csv",
        "wrote choice/chosen.txt",
        "wrote choice/sheet.png",
    ]


def test_files_that_cannot_be_read_are_listed(mmlandmark_command, films, tmp_path):
    for n in range(12):
        (tmp_path / f"broken{n}.png").write_bytes(b"no image")
    done = mmlandmark_command(
        "select-template", films, tmp_path / "broken*.png", "-o", "choice", "--points", "40"
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert sum(line.startswith("left out: ") for line in lines) == 11
    assert lines[10] == "left out: 2 more"
    assert "12 images compared by SIFT" in done.stdout


def test_one_image_is_no_choice(mmlandmark_command, films, assert_one_line):
    done = mmlandmark_command("select-template", films / "film00.png", "-o", "choice")
    assert_one_line(done, "1 of 1 images can be compared; to choose 1 takes more")


def test_a_detector_without_embeddings_is_refused(mmlandmark_command, films, trained, assert_one_line):
    done = mmlandmark_command("select-template", films, "--model", trained.folder, "-o", "choice")
    assert_one_line(done, "has no embeddings of pixels", "to compare by SIFT")
