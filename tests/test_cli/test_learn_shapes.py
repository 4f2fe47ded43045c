"""``mmlandmark learn-shapes``: what it writes and refuses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import PhantomDataset
from mmlandmark.inference.loading import load_model
from mmlandmark.shape import PointDistributionModel, ShapePrior


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


def test_modes_of_an_annotation_file_are_described_drawn_and_kept(mmlandmark_command, annotation, tmp_path):
    path, points = annotation
    out, picture = tmp_path / "shapes.json", tmp_path / "a.png"
    done = mmlandmark_command("learn-shapes", path, "-o", out, "--plot", picture, "--variance", "0.99")
    assert done.returncode == 0, done.stderr
    model, expected = PointDistributionModel.load(out), PointDistributionModel.fit(points, 0.99)
    np.testing.assert_allclose(model.sigmas, expected.sigmas)
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"15 of 15 shapes of 68 landmarks in 2D: {len(model.sigmas)} modes hold 99.")
    first = [
        cell.strip() for cell in next(line for line in lines if line.startswith("| 1 ")).split("|")[1:-1]
    ]
    w, p = model.normality[0]
    share, movement = 100 * model.shares[0], model.movements[0]
    assert first == ["1", f"{share:.1f}", f"{share:.1f}", f"{movement:.2f}", f"{w:.3f}", f"{p:.3f}"]
    assert "1 SD moves a landmark by (pixels)" in done.stdout
    normal = (model.normality[:, 1] > 0.05).sum()
    assert f"{normal} of {len(model.sigmas)} parameters are as normal ones" in done.stdout
    assert cv2.imread(str(picture)) is not None
    assert f"drew {picture}\nwrote {out}" in done.stdout


def test_modes_are_in_mm_by_spacing_or_a_known_length(mmlandmark_command, annotation, tmp_path):
    path, points = annotation
    data = json.loads(path.read_text())
    length = dict(pair=[0, 66], mm=300.0)
    schema = dict(name="columns", landmarks=[f"p{k}" for k in range(68)], reference_length=length)
    path.write_text(json.dumps(dict(data, schema=schema)))
    scale = 300 / np.linalg.norm(points[:, 0] - points[:, 66], axis=1)[:, None, None]
    for spacing, factor in ((None, scale), (0.25, 0.25)):
        if spacing is not None:
            path.write_text(json.dumps(dict(data, schema=schema, spacing=spacing)))
        done = mmlandmark_command("learn-shapes", path, "-o", tmp_path / "a.json", "--robust")
        assert "1 SD moves a landmark by (mm)" in done.stdout, done.stderr
        model, expected = (
            PointDistributionModel.load(tmp_path / "a.json"),
            PointDistributionModel.fit(points * factor, robust=True),
        )
        assert model.size == pytest.approx(expected.size)
        np.testing.assert_allclose(model.sigmas, expected.sigmas, rtol=1e-3)


def test_errors_are_one_line(mmlandmark_command, trained, annotation, tmp_path, assert_one_line):
    path, _ = annotation
    out = tmp_path / "a.mml.pth"
    done = mmlandmark_command("learn-shapes", trained.folder, tmp_path / "nowhere", "-o", out)
    assert_one_line(done, "nowhere: no such file or folder of data to learn from")
    data = json.loads(path.read_text())
    path.write_text(json.dumps(dict(data, samples=data["samples"][:5])))
    done = mmlandmark_command("learn-shapes", trained.folder, path, "-o", out)
    assert_one_line(done, "a prior of shapes needs at least 10 shapes")
    assert_one_line(
        mmlandmark_command("learn-shapes", trained.folder, path), "with MODEL, give -o FILE.mml.pth"
    )
    assert_one_line(
        mmlandmark_command("learn-shapes", path, "-o", out), "modes of variation are written as *.json"
    )
    assert_one_line(mmlandmark_command("learn-shapes", path, "--variance", "2"), "variance must be above 0")
    path.write_text(json.dumps(dict(data, samples=data["samples"][:2])))
    assert_one_line(mmlandmark_command("learn-shapes", path), "need at least 3 complete shapes")
    assert not out.exists()
