"""From a scene to pixels: attenuation, exposure, grey levels."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.phantom import render_phantom
from mmlandmark.datasets.phantom.radiograph import attenuation, expose, oversampling
from mmlandmark.datasets.phantom.scene import Scene, Solid, Stroke


def test_sixteen_bits_show_more_grey_levels_of_the_same_picture():
    coarse, fine = render_phantom("ceph", 0, 0)[0], render_phantom("ceph", 0, 0, bits=16)[0]
    assert fine.dtype == np.uint16
    assert len(np.unique(fine)) > 10 * len(np.unique(coarse))
    assert np.abs(fine / 65535 - coarse / 255).max() < 0.003


def test_oversampling_shrinks_with_size():
    assert oversampling((64, 48)) == 4
    assert oversampling((320, 256)) == 2
    assert oversampling((1200, 900)) == 1


def _scene(*parts, size=(100, 80)):
    return Scene(
        parts=list(parts),
        landmarks=np.zeros((0, 2), np.float32),
        pixel_from_mm=np.eye(3),
        room_from_mm=np.eye(3),
        size=size,
        spacing=(1.0, 1.0),
    )


def test_attenuation_is_that_of_the_parts():
    square = np.array([(20.0, 20.0), (60.0, 20.0), (60.0, 70.0), (20.0, 70.0)])
    muscle = Solid([square], amount=0.7, rounding=5.0, bone=False)
    soft, bone = attenuation(_scene(muscle))
    assert soft.shape == bone.shape == (100, 80)
    assert soft[45, 40] == pytest.approx(0.7)
    assert 0 < soft[45, 22] < 0.7  # thinner near the edge
    assert soft[10, 10] == 0
    assert not bone.any()


def test_a_shell_is_densest_near_the_edge_and_a_tube_at_its_walls():
    square = np.array([(20.0, 20.0), (60.0, 20.0), (60.0, 70.0), (20.0, 70.0)])
    _, bone = attenuation(_scene(Solid([square], amount=0.2, rounding=8.0, cortex=2.0, rim=0.8)))
    assert bone[45, 20:30].max() > 1.3 * bone[45, 40]
    tube = Stroke([np.array([(40.0, 10.0), (40.0, 90.0)])], width=16.0, amount=1.0, core=0.2)
    _, bone = attenuation(_scene(tube))
    assert bone[50, 40] == pytest.approx(0.2, abs=0.01)
    assert bone[50, 33] > 0.9
    assert bone[50, 20] == 0


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_bone_is_bright(bits, dtype):
    square = np.array([(20.0, 20.0), (60.0, 20.0), (60.0, 70.0), (20.0, 70.0)])
    scene = _scene(Solid([square], amount=2.0))
    image = expose(scene, *attenuation(scene), np.random.default_rng(0), bits)
    assert image.dtype == dtype
    assert image[40:50, 35:45].mean() > 1.5 * image[40:50, 5:12].mean()
