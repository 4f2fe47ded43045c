"""Bidirectional matching against plain loops in double precision."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from mmlandmark.models.heads import TemplateHead
from mmlandmark.models.heads.back_matching import BackMatching

CODEC = dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax")
K, C = 3, 4
SIZE = {2: (9, 11), 3: (4, 5, 6)}
POINTS = {2: [[2.0, 3.0], [9.0, 8.0], [5.0, 0.0]], 3: [[2.0, 3.0, 1.0], [5.0, 4.0, 3.0], [0.0, 1.0, 2.0]]}


def levels_of(dims, batch, seed, strides=(1,)):
    torch.manual_seed(seed)
    return [torch.randn(batch, C, *[math.ceil(s / t) for s in SIZE[dims]]).double() for t in strides]


def taught(dims, templates=1, strides=(1,), top=3, size=None, shown=None):
    matching = dict(size=SIZE[dims] if size is None else size, top=top)
    head = TemplateHead([C] * len(strides), K, CODEC, templates, matching=matching, dims=dims).double()
    known = torch.ones(templates, K, dtype=torch.bool) if shown is None else shown
    for t in range(templates):
        points = torch.tensor([POINTS[dims]]).double().flip(1) if t else torch.tensor([POINTS[dims]])
        head.learn(t, levels_of(dims, 1, 100 + t, strides), points, SIZE[dims], known[t])
    return head


def cosine(a, b):
    return float(a @ b) / (math.sqrt(a @ a) * math.sqrt(b @ b) + 1e-3)


def slow_choice(maps, features, template, point, top):
    """Return the pixel of one landmark: of the best ``top``, that whose match is nearest to ``point``."""
    pixels = sorted(np.ndindex(maps.shape), key=lambda p: -maps[p])[:top]
    distances = []
    for pixel in pixels:
        own = features[(slice(None), *pixel)]
        matches = {p: cosine(own, template[(slice(None), *p)]) for p in np.ndindex(template.shape[1:])}
        best = max(matches, key=lambda p: matches[p])
        distances.append(math.dist(best[::-1], point))
    return pixels[int(np.argmin(distances))]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("top", [1, 3, 10])
def test_it_chooses_as_the_loops_do(dims, top):
    head, plain = taught(dims, top=top), taught(dims, top=1)
    levels = levels_of(dims, 4, 1)
    image = torch.zeros(4, 1, *SIZE[dims])
    (before,), (after,) = (h([*levels, image], all_levels=False) for h in (plain, head))
    assert torch.equal(before, head([*levels, image])[0]), "training compares the maps as they are"
    template = levels_of(dims, 1, 100)[0][0].numpy()
    found = head.predict(after, SIZE[dims])
    changed = 0
    for b, k in product(range(4), range(K)):
        wanted = slow_choice(before[b, k].numpy(), levels[0][b].numpy(), template, POINTS[dims][k], top)
        assert found.points[b, 0, k].tolist() == list(wanted[::-1])
        assert float(found.scores[b, 0, k]) == float(before[(b, k, *wanted)])
        lower = before[b, k] <= before[(b, k, *wanted)]
        assert torch.equal(after[b, k][lower], before[b, k][lower])
        changed += int(not lower.all())
    assert (changed > 0) == (top > 1)


def test_the_nearest_over_all_templates_that_show_the_landmark():
    shown = torch.tensor([[True, True, False], [True, False, False]])
    both, one = taught(2, 2, shown=shown), taught(2, 1)
    levels = levels_of(2, 3, 1)
    pixels = torch.tensor([[[1.0, 2.0], [4.0, 5.0], [10.0, 0.0]]]).double().expand(3, K, 3, 2).contiguous()
    found = both.matching.distances(pixels, SIZE[2], levels)
    torch.testing.assert_close(found[:, :, :1], one.matching.distances(pixels, SIZE[2], levels))
    maps = both([*levels, torch.zeros(3, 1, *SIZE[2])], all_levels=False)[0]
    assert maps[:, 2].isnan().all()
    raw = both([*levels, torch.zeros(3, 1, *SIZE[2])])[0]
    for b, k in product(range(3), range(2)):
        best = raw[b, k].flatten().topk(3).indices
        places = torch.stack([best % SIZE[2][1], best // SIZE[2][1]], -1).double()
        far = both.matching.distances(places.expand(3, K, 3, 2), SIZE[2], levels)[b, k]
        mean = far[: 2 if k == 0 else 1].mean(0)
        assert int(maps[b, k].argmax()) == int(best[mean.argmin()])


def test_levels_and_a_coarse_grid():
    """The best match is that of the product over levels, on a grid of every other pixel."""
    head = taught(2, strides=(1, 2), size=(5, 6))
    levels, template = levels_of(2, 1, 1, (1, 2)), levels_of(2, 1, 100, (1, 2))
    pixel = (7, 4)  # (x, y)
    asked = torch.tensor(pixel).double().expand(1, K, 1, 2)
    found = head.matching.distances(asked, SIZE[2], levels)[0, :, 0, 0]
    best, place = -1.0, None
    for row, column in product(range(5), range(6)):
        # Pixel of the template that a point of the grid shows, and that of its coarse level.
        y, x = ((i + 0.5) * n / m - 0.5 for i, n, m in zip((row, column), SIZE[2], (5, 6), strict=True))
        value = 1.0
        for level, own in zip(levels, template, strict=True):
            _, _, height, width = own.shape
            spots = []
            for px, py in ((x, y), pixel):
                rounded = [
                    math.floor((v + 0.5) * new / old)
                    for v, new, old in ((py, height, SIZE[2][0]), (px, width, SIZE[2][1]))
                ]
                spots.append(rounded)
            mine, other = own[0, :, spots[0][0], spots[0][1]], level[0, :, spots[1][0], spots[1][1]]
            value *= max(cosine(mine.numpy(), other.numpy()), 0)
        if value > best:
            best, place = value, (x, y)
    wanted = [math.dist(place, point) for point in POINTS[2]]
    torch.testing.assert_close(found, torch.tensor(wanted).double())


def test_a_patch_about_each_landmark_is_a_template_of_its_own():
    matching = dict(size=(5, 5))
    head = TemplateHead([C], K, CODEC, matching=matching, template_view="patch").double()
    assert head.matching.map0.shape == (1, K, C, 5, 5)
    torch.manual_seed(5)
    patches, points = torch.randn(K, C, 5, 5).double(), torch.tensor([[[2.0, 2.0]]] * K).double()
    head.learn(0, [patches], points, (5, 5), torch.ones(K, dtype=torch.bool))
    levels = [torch.randn(2, C, 5, 5).double()]
    pixels = torch.tensor([[3.0, 1.0], [0.0, 4.0]]).double().expand(2, K, 2, 2)
    found = head.matching.distances(pixels, (5, 5), levels)
    for b, k, n in product(range(2), range(K), range(2)):
        x, y = (int(v) for v in pixels[b, k, n])
        own = levels[0][b, :, y, x].numpy()
        cosines = {p: cosine(own, patches[k, :, p[0], p[1]].numpy()) for p in np.ndindex(5, 5)}
        best = max(cosines, key=lambda p: cosines[p])
        assert float(found[b, k, 0, n]) == pytest.approx(math.dist(best[::-1], (2, 2)))


def test_it_travels_with_the_weights():
    first, second = taught(2), TemplateHead([C], K, CODEC, matching=dict(size=SIZE[2])).double()
    second.load_state_dict(first.state_dict())
    features = [*levels_of(2, 2, 1), torch.zeros(2, 1, *SIZE[2])]
    assert torch.equal(first(features, False)[0], second(features, False)[0])
    named = {name for name, _ in first.named_buffers() if not name.startswith("codec.")}
    assert (
        set(first.template_buffers)
        == named
        == {
            "template0",
            "shown",
            "matching.map0",
            "matching.places",
            "matching.steps",
        }
    )


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="top of the matching must be at least 1, got 0"):
        BackMatching([C], K, 1, 1, (5, 5), top=0)
    with pytest.raises(ValueError, match="size must be a number from 1 on"):
        BackMatching([C], K, 1, 1, (5, 0))
    own = torch.zeros(1, K, C, *SIZE[2])  # of a neck with adapters
    with pytest.raises(
        ValueError, match=r"every landmark has a map of its own: leave model.head.matching out"
    ):
        taught(2).learn(0, [own], torch.tensor([POINTS[2]]), SIZE[2], torch.ones(K, dtype=torch.bool))
