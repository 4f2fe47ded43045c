"""Cases as a network sees them: images with an orientation tag are turned."""

from __future__ import annotations

import copy

from mmlandmark.datasets.check_cases import Cases


def upright(cases: Cases) -> Cases:
    """Return cases with the sizes and spacing of images as they are shown, and the landmarks there.

    Headers and annotations are of the stored pixels; a photograph of 4000 x 3000 pixels that was taken
    upright is shown 3000 wide, and so the network sees it. Volumes stay as they are.
    """
    turned = copy.copy(cases)
    turned.points = cases.upright(cases.points)
    turned.sizes, turned.spacing = cases.upright_sides(cases.sizes), cases.upright_sides(cases.spacing)
    return turned
