"""Predicting many images takes no more memory than predicting some."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlandmark.inference import LandmarkInferencer, predict_to_folder
from mmlandmark.testing import tiny_model

COUNT, LIMIT = 1000, 24 * 2**20


def resident() -> int:
    """Return the bytes of memory of this process and of its workers that no file backs."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "status").read_text()
        except OSError:  # it has just ended
            continue
        fields = dict(re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE))
        if os.getpid() in (int(fields["Pid"]), int(fields["PPid"])):
            total += 1024 * (int(fields.get("RssAnon", 0)) + int(fields.get("RssShmem", 0)))
    return total


@pytest.mark.slow
@pytest.mark.parametrize("resized", [True, False], ids=["one input size", "inputs of mixed size"])
def test_a_thousand_images_of_mixed_size(tmp_path, resized):
    if not Path("/proc/self/status").is_file():
        pytest.skip("there is no /proc to read the memory from")
    films, rng = tmp_path / "films", np.random.default_rng(0)
    films.mkdir()
    for number in range(25):
        height, width = (8 * rng.integers(8, 80 if resized else 24, 2)).tolist()
        image = cv2.resize(rng.integers(0, 255, (24, 24), np.uint8), (width, height))
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    for number in range(COUNT):
        os.link(tmp_path / f"{rng.integers(25)}.png", films / f"{number:04d}.png")
    model = tiny_model()
    if not resized:
        steps = [step for step in model.config["pipeline"] if step["type"] in ("LoadImage", "PackInputs")]
        model = replace(model, config=dict(model.config, pipeline=steps))
    seen: list[int] = []
    done = 0

    def advance(results) -> None:
        nonlocal done
        done += len(results)
        if done >= 100 * (len(seen) + 1):
            seen.append(resident())

    begin = time.monotonic()
    inferencer = LandmarkInferencer(model, "cpu", batch_size=4, num_workers=2)
    outcome = predict_to_folder(inferencer, films, tmp_path / "out", advance=advance)
    assert (outcome.total, outcome.failures) == (COUNT, [])
    mib = [round(value / 2**20, 1) for value in seen]
    print(f"MiB after every hundred images: {mib}; {COUNT / (time.monotonic() - begin):.3g} images/s")
    assert max(seen[5:]) - max(seen[1:5]) < LIMIT, mib
