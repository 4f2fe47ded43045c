"""What a run writes beside its log ends at a size."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.registry import VISBACKENDS
from mmlandmark.visualization import LocalVisBackend, TensorboardVisBackend
from mmlandmark.visualization.curves import plot_training, read_scalars

SMALL = 1 / 64  # MiB
NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def test_configs_get_the_backends_with_an_end():
    assert VISBACKENDS.get("LocalVisBackend") is LocalVisBackend
    assert VISBACKENDS.get("TensorboardVisBackend") is TensorboardVisBackend
    with pytest.raises(ValueError, match="log_mib is a size in MiB"):
        LocalVisBackend("folder", log_mib=0)
    with pytest.raises(ValueError, match="pictures_mib is a size in MiB"):
        TensorboardVisBackend("folder", pictures_mib="8")


def test_numbers_end_at_a_size_and_are_drawn(tmp_path):
    backend = LocalVisBackend(str(tmp_path), log_mib=SMALL)
    largest = 0
    for step in range(1, 1001):
        backend.add_scalars(dict(lr=0.1, loss=1 / step, epoch=step), step=step, file_path="copy.json")
        backend.add_scalars(dict(mre=3.0), step=step)
        largest = max(largest, *(path.stat().st_size for path in tmp_path.glob("*.json")))
    assert 2**13 < largest <= 2**14
    for path in (tmp_path / "scalars.json", tmp_path / "copy.json"):
        rows = [row for row in read_scalars(path) if "loss" in row]
        assert (rows[0]["step"], rows[-1]["step"]) == (1, 1000)
        assert len(rows) > 30
    assert plot_training(tmp_path / "scalars.json", tmp_path / "training.png").is_file()


def test_without_a_limit_all_stays(tmp_path):
    backend = LocalVisBackend(str(tmp_path), log_mib=None, pictures_mib=None)
    for step in range(1000):
        backend.add_scalars(dict(loss=1.0), step=step)
    for step in range(5):
        backend.add_image("case", NOISE, step)
    assert len((tmp_path / "scalars.json").read_text().splitlines()) == 1000
    assert len(list(tmp_path.rglob("*.png"))) == 5


def test_pictures_end_at_a_size(tmp_path):
    backend = LocalVisBackend(str(tmp_path), pictures_mib=3 * SMALL)
    (tmp_path / "vis_image").mkdir()
    (tmp_path / "vis_image" / "other.png").write_bytes(b"of someone else")
    for step in range(1, 41):
        for name in ("first", "second"):
            backend.add_image(name, NOISE, step)
        sizes = [path.stat().st_size for path in tmp_path.rglob("*_*.png")]
        assert sum(sizes) <= 3 * 2**14
    for name in ("first", "second"):
        steps = sorted(int(path.stem.split("_")[1]) for path in tmp_path.rglob(f"{name}_*.png"))
        assert (steps[0], steps[-1]) == (1, 40)
        assert 3 <= len(steps) < 20
    assert (tmp_path / "vis_image" / "other.png").is_file()


@pytest.mark.slow
def test_events_of_tensorboard_end_at_a_size(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    backend = TensorboardVisBackend(str(tmp_path), log_mib=SMALL, pictures_mib=3 * SMALL)
    other = tmp_path / "events.out.tfevents.0.other"
    other.write_bytes(b"")
    largest = [0, 0]
    for step in range(1, 601):
        backend.add_scalars(dict(loss=1 / step), step=step)
        if step % 20 == 0:
            backend.add_image("case", NOISE, step)
        for place, folder in enumerate((tmp_path, tmp_path / "pictures")):
            found = sum(path.stat().st_size for path in folder.glob("events*"))
            largest[place] = max(largest[place], found)
    backend.close()
    assert 2**13 < largest[0] <= 2**14
    assert 2**14 < largest[1] <= 3 * 2**14
    events = EventAccumulator(str(tmp_path)).Reload()
    steps = [event.step for event in events.Scalars("loss")]
    assert steps == list(range(steps[0], 601))
    assert other.is_file()
    assert len(list(tmp_path.glob("events*"))) == 3
    assert len(list((tmp_path / "pictures").glob("events*"))) <= 2
