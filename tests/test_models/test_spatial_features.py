"""Maps of position: normalised, of any dimension, and of others' own."""

import pytest
import torch

from mmlandmark.models.losses import spatial_features
from mmlandmark.registry import SPATIAL_FEATURES


def test_features_in_space_have_one_more_coordinate():
    maps = spatial_features(["cartesian", "polar"], (4, 5, 6))
    assert maps.shape == (6, 4, 5, 6)
    flat = maps.flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(6, dtype=torch.float64), atol=1e-9, rtol=0)
    assert ((flat.std(1, correction=0) - 1).abs() < 1e-4).all()
    torch.testing.assert_close(maps[2], maps[2, :, :1, :1].expand(4, 5, 6))  # z changes along the first axis


def test_the_angle_jumps_to_the_left_of_the_centre():
    maps = spatial_features(["polar"], (5, 7))
    assert maps.shape == (2, 5, 7)
    assert maps[0].argmin() == 2 * 7 + 3  # the radius at the centre
    assert maps[1, 3, 0] - maps[1, 1, 0] > 2  # y points down: the angle is positive below


def test_maps_of_another_size_are_refused(monkeypatch):
    monkeypatch.setattr(SPATIAL_FEATURES, "_module_dict", dict(SPATIAL_FEATURES.module_dict))
    SPATIAL_FEATURES.register_module(name="small", module=lambda size: torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match=r"spatial feature 'small' must be \(d, \*S\) with \*S = \(4, 5\)"):
        spatial_features(["small"], (4, 5))
