"""One specimen in 24 orientations, in three formats, and resampled: the same points in mm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from scipy.spatial.transform import Rotation

from mmlandmark.datasets.image_io import read_image
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.registry import DATASETS, MODELS
from mmlandmark.structures import apply_matrix, spacing_of, world_matrix
from mmlandmark.testing.one_world import main, moves, orientations, resampled, turned
from mmlandmark.testing.volume_files import write_nifti

SIZE = (16, 18, 20)
WORLD = world_matrix(
    (0.5, 0.5, 0.6), (-40, 20, 300), Rotation.from_euler("xyz", [8, -5, 12], True).as_matrix()
)
PLACES = np.array([[5.3, 4.2, 4.1], [14.4, 6.3, 10.2], [8.1, 12.6, 11.4]])


def specimen():
    """Return a volume with a blob of its own shape at every landmark."""
    z, y, x = np.mgrid[: SIZE[0], : SIZE[1], : SIZE[2]]
    volume = np.zeros(SIZE)
    for (px, py, pz), (wx, wy, wz) in zip(
        PLACES, ((1.5, 1.5, 1.5), (4, 1.2, 1.2), (1.2, 1.2, 4)), strict=True
    ):
        volume += np.exp(-(((x - px) / wx) ** 2 + ((y - py) / wy) ** 2 + ((z - pz) / wz) ** 2) / 2)
    return np.rint(20000 * volume).astype(np.uint16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a volume and a model file of a tiny U-Net that has learnt to find its landmarks."""
    pytest.importorskip("nibabel")
    folder = tmp_path_factory.mktemp("world")
    path = write_nifti(folder / "a.nii", specimen(), WORLD)
    # The network sees voxels of 0.6 mm, whatever those of the file are.
    pipeline = [dict(type="LoadImage", file_spacing=True), dict(type="ResampleSpacing", spacing=0.6),
                dict(type="Resample"), dict(type="PackInputs")]  # fmt: skip
    config = Config(
        dict(
            model=dict(
                type="LandmarkDetector", dims=3,
                data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1, mean=0.1, std=0.2),
                backbone=dict(type="UNet", in_channels=1, widths=(8, 16), norm_cfg=dict(type="IN")),
                head=dict(type="HeatmapHead", num_landmarks=3, loss=dict(type="SpatialCrossEntropyLoss"),
                          codec=dict(type="GaussianHeatmapCodec", sigma=1.5, activation="softmax", window=5)),
            ),
            test_dataloader=dict(dataset=dict(type="LandmarkDataset", pipeline=pipeline)),
        )
    )  # fmt: skip
    numbers = ",".join(f"{c}" for place in PLACES for c in place)
    columns = ",".join(f"{name}_{axis}" for name in "abc" for axis in "xyz")
    (folder / "a.csv").write_text(f"image,{columns}\na.nii,{numbers}\n")
    data = DATASETS.build(
        dict(type="LandmarkDataset", ann_file="a.csv", data_root=str(folder), pipeline=pipeline)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = MODELS.build(config.model)
        detector.train()
        optimizer = torch.optim.Adam(detector.parameters(), lr=5e-3)
        sample = data[0]
        for _ in range(60):
            batch = detector.data_preprocessor(
                dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]]), True
            )
            loss, _ = detector.parse_losses(detector(**batch, mode="loss"))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    checkpoint = dict(state_dict=detector.state_dict(), meta=dict(dataset_meta=data.metainfo))
    return path, pack_checkpoint(config, checkpoint, "tiny", name="tiny")


@pytest.mark.slow
def test_the_same_points_in_mm_however_the_volume_is_stored(trained, tmp_path):
    for package in ("SimpleITK", "pydicom"):
        pytest.importorskip(package)
    path, model = trained
    inferencer = LandmarkInferencer(model)
    found = inferencer(path)[0].world_points
    # It has learnt something, else any point would do.
    assert np.linalg.norm(found - apply_matrix(WORLD, PLACES), axis=1).max() < 0.3
    rows = moves(inferencer, path, tmp_path, [(0.4, 0.4, 0.48), (0.5, 0.5, 0.75)])
    assert len(rows) == 24 * 3 + 2
    exact = [row for row in rows if "resampled" not in row.way]
    assert max(row.max_voxels for row in exact) < 1e-3
    assert max(row.max_voxels for row in rows) < 0.5
    assert not any(row.missing for row in rows)


def test_a_wrong_frame_does_not_go_unnoticed(trained, tmp_path, monkeypatch):
    path, model = trained

    def shifted(file, array, world):
        moved = world.copy()
        moved[:3, 3] += 0.2
        return write_nifti(file, array, moved)

    monkeypatch.setattr("mmlandmark.testing.one_world.FORMATS", {"NIfTI": (".nii", shifted)})
    rows = moves(LandmarkInferencer(model), path, tmp_path)
    assert min(row.max_mm for row in rows) == pytest.approx(0.2 * 3**0.5, abs=0.01)


def test_orientations_are_of_the_same_specimen():
    volume = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    world = world_matrix((0.5, 1, 2), (1, 2, 3))
    shapes = set()
    for rotation in orientations():
        array, frame = turned(volume, world, rotation)
        shapes.add(array.shape)
        for voxel in ((0, 0, 0), (3, 2, 1), (1, 2, 0)):
            place = apply_matrix(world, np.array([voxel], float))
            x, y, z = np.rint(apply_matrix(np.linalg.inv(frame), place)[0]).astype(int)
            assert array[z, y, x] == volume[voxel[::-1]]
    assert len(shapes) == 6
    assert len({turned(volume, world, rotation)[0].tobytes() for rotation in orientations()}) == 24


def test_resampling_keeps_a_ramp_in_place():
    z, y, x = np.mgrid[:6, :8, :10]
    volume = (x + 10.0 * y + 100 * z).astype(np.float32)
    world = world_matrix((0.5, 1, 2), (1, 2, 3))
    array, frame = resampled(volume, world, (0.25, 2, 1))
    assert array.shape == (12, 4, 20)
    np.testing.assert_allclose(spacing_of(frame), (0.25, 2, 1))
    there = apply_matrix(np.linalg.inv(world), apply_matrix(frame, np.array([[9, 2, 6.0]])))[0]
    assert array[6, 2, 9] == pytest.approx(there @ [1, 10, 100], rel=1e-5)
    assert resampled(volume.astype(np.int16), world, (0.5, 1, 1.9))[0].dtype == np.int16


def test_from_the_command_line(trained, tmp_path, capsys, monkeypatch):
    path, model = trained
    monkeypatch.setattr("mmlandmark.testing.one_world.FORMATS", {"NIfTI": (".nii", write_nifti)})
    model.save(tmp_path / "tiny.mml.pth")
    main([str(tmp_path / "tiny.mml.pth"), str(path), "--scale", "0.9"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 24 + 1
    assert lines[-1].startswith("NIfTI, resampled to 0.45 x 0.45 x 0.54 mm")


def test_an_image_without_a_frame_is_refused(trained, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 5), np.uint8))
    assert read_image(tmp_path / "a.npy").spacing is None
    with pytest.raises(ValueError, match=r"a.npy: a volume with a frame is needed"):
        moves(LandmarkInferencer(trained[1]), tmp_path / "a.npy", tmp_path)
