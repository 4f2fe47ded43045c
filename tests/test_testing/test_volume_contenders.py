"""Every way from a volume to a patch makes the same patch."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.transforms import CenterCrop, LoadImage, RandomAffine, Resample, ResampleSpacing
from mmlandmark.testing.volume_contenders import Motion, draw_motions, volume_ways, write_volumes

pytest.importorskip("nibabel")


class Draws:
    """A generator whose draws are given."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def random(self):
        return 0.0

    def uniform(self, low, high, size=None):
        return np.asarray(self.draws.pop(0))


@pytest.mark.parametrize("kept", ["nothing", "volumes"])
def test_all_ways_agree(tmp_path, kept):
    (path,) = write_volumes(tmp_path, 1, 49, ".nii.gz")
    motion = Motion((12.0, -7.0, 9.0), 1.07)
    ways = volume_ways(20, kept)
    assert list(ways)[:2] == ["mmlandmark", "nibabel + grid_sample, by hand"]
    own = ways["mmlandmark"](path, motion)
    for way, run in ways.items():
        for _ in range(2):  # the second time from what is kept
            patch = run(path, motion)
            assert patch.shape == own.shape == (20, 20, 20)
            difference = np.abs(patch - own.astype(float)) / own.std()
            # Ours rounds to integers. Others interpolate twice, which blurs.
            twice = way in ("MONAI", "TorchIO") or (kept == "volumes" and way == "MONAI, lazy")
            assert difference.max() < (0.25 if twice else 0.004)
            assert difference.mean() < (0.03 if twice else 0.002)


def test_ours_is_what_random_affine_does_with_this_draw(tmp_path):
    (path,) = write_volumes(tmp_path, 1, 49, ".nii")
    motion = draw_motions(1)[0]
    draws = Draws(np.array(motion.degrees) / 15, (motion.factor - 1) / 0.1, np.zeros(3))
    results = dict(sample_id="v", img_path=path, rng=draws)
    steps = LoadImage(), ResampleSpacing(1.0), RandomAffine(15, 0.1), CenterCrop((20, 20, 20)), Resample()
    for step in steps:
        results = step(results)
    own = volume_ways(20, "nothing")["mmlandmark"](path, motion)
    np.testing.assert_array_equal(results["img"], own)


def test_sides_that_other_packages_would_round_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one more than a multiple of 8, got 50"):
        write_volumes(tmp_path, 1, 50, ".nii")
