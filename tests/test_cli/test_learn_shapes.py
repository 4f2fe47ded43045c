"""``mmlandmark learn-shapes``: what it writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets import PhantomDataset
from mmlandmark.inference.loading import load_model
from mmlandmark.shape import ShapePrior


@pytest.fixture
def annotation(trained, tmp_path):
    """Write the landmarks of phantoms like those of the training; return the file and the points."""
    schema = load_model(trained.folder).schema.name
    dataset = PhantomDataset("spine", num_samples=15, seed=3)
    points = [dataset.get_data_info(n)["landmarks"] for n in range(15)]
    samples = [dict(id=str(n), image=f"{n}.png", landmarks=p.tolist()) for n, p in enumerate(points)]
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps(dict(schema=schema, samples=samples)))
    return path, np.array(points)


def test_an_annotation_file_is_learnt_without_its_images(mmlandmark_command, trained, annotation, tmp_path):
    path, points = annotation
    out = tmp_path / "a.mml.pth"
    done = mmlandmark_command("learn-shapes", trained.folder, path, "-o", out, "--gate", "7")
    assert done.returncode == 0, done.stderr
    assert f"learnt 15 shapes in pixels, 15 of them complete; wrote {out}" in done.stdout
    choice = load_model(out).detector().shape_choice
    assert (choice.gate, choice.candidates, choice.strength) == (7.0, 4, 3.0)
    expected = ShapePrior.fit(points).model.typical
    np.testing.assert_allclose(choice.prior.model.typical, expected, rtol=1e-4, atol=1e-5)


def test_errors_are_one_line(mmlandmark_command, trained, annotation, tmp_path, assert_one_line):
    path, _ = annotation
    out = tmp_path / "a.mml.pth"
    done = mmlandmark_command("learn-shapes", trained.folder, tmp_path / "nowhere", "-o", out)
    assert_one_line(done, "nowhere: no such file or folder of data to learn from")
    data = json.loads(path.read_text())
    path.write_text(json.dumps(dict(data, samples=data["samples"][:5])))
    done = mmlandmark_command("learn-shapes", trained.folder, path, "-o", out)
    assert_one_line(done, "a prior of shapes needs at least 10 shapes")
    assert not out.exists()
