"""Coverage of images by one of them: similarities against plain loops, the choice against all choices."""

from itertools import combinations

import numpy as np
import pytest

from mmlandmark.inference.image_coverage import (
    DescribedImage,
    choose_images,
    image_means,
    similarities,
)


def described(counts=(4, 3, 5), channels=(6, 2), dims=2, seed=0):
    """Images with random points and features of several levels."""
    rng = np.random.default_rng(seed)

    def unit(count, size):
        vectors = rng.normal(size=(count, size))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return [
        DescribedImage(
            str(n), rng.random((p, dims)) * 100, rng.random((p, dims)), tuple(unit(p, c) for c in channels)
        )
        for n, p in enumerate(counts)
    ]


def slow(images, reach):
    """Return the similarities by loops over all pairs of points."""
    rows = []
    for t, template in enumerate(images):
        row = []
        for i, image in enumerate(images):
            for p in range(len(image.points)):
                best = 0.0
                for q in range(len(template.points)):
                    near = np.linalg.norm(image.places[p] - template.places[q]) <= reach
                    alike = [
                        max(0.0, float(a[p] @ b[q]))
                        for a, b in zip(image.vectors, template.vectors, strict=True)
                    ]
                    best = max(best, np.prod(alike) if near else 0.0)
                row.append(1.0 if i == t else best)
        rows.append(row)
    return rows


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("reach", [0.4, None])
def test_similarities_equal_the_loops(dims, reach):
    images = described(dims=dims)
    found, owner = similarities(images, reach)
    assert owner.tolist() == [0] * 4 + [1] * 3 + [2] * 5
    np.testing.assert_allclose(found, slow(images, np.inf if reach is None else reach), atol=1e-6)


def test_an_image_without_points_shows_nothing():
    found, owner = similarities(described(counts=(3, 0, 2)))
    assert found.shape == (3, 5)
    assert found[1].tolist() == [0] * 5
    assert image_means(found[0], owner, 3)[:2].tolist() == [1, 0]


def test_the_first_choices_are_near_the_best_ones():
    found, owner = similarities(described(counts=(9,) * 8, channels=(3,), seed=1))
    choice = choose_images(found, owner, 3)
    means = np.stack([image_means(row, owner, 8) for row in found])
    assert choice.alone == pytest.approx([(row.sum() - 1) / 7 for row in means])
    assert choice.chosen[0] == int(choice.alone.argmax())
    assert choice.coverage[0] == pytest.approx(choice.alone.max())

    def value(some):
        return image_means(found[list(some)].max(0), owner, 8).sum()

    best = max(map(value, combinations(range(8), 3)))
    assert 0.95 * best <= value(choice.chosen) <= best
    others = np.setdiff1d(range(8), choice.chosen)
    assert np.isnan(choice.of_images[list(choice.chosen)]).all()
    covered = image_means(found[list(choice.chosen)].max(0), owner, 8)[others]
    assert choice.of_images[others] == pytest.approx(covered)
    assert choice.coverage[-1] == pytest.approx(covered.mean())


def test_a_second_image_shows_what_the_first_does_not():
    one, other = np.eye(2)
    images = [
        DescribedImage(str(n), np.zeros((2, 2)), np.zeros((2, 2)), (np.stack([vector] * 2),))
        for n, vector in enumerate([one, one, one, other, other])
    ]
    choice = choose_images(*similarities(images), 2)
    assert choice.chosen == (0, 3)
    assert choice.coverage == pytest.approx((2 / 4, 1))


@pytest.mark.parametrize("number", [0, 3])
def test_too_few_images_are_refused(number):
    with pytest.raises(ValueError, match=f"{number} of 3 images cannot be chosen: give more images"):
        choose_images(*similarities(described()), number)
