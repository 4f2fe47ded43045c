"""Coverage of images by one of them: points against plain loops, the choice against all choices."""

from itertools import combinations

import numpy as np
import pytest

from mmlandmark.inference.image_coverage import DescribedImage, choose_images, found_again, image_means


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
    """Return which points are found by loops over all pairs of points."""

    def best(point, image, other):
        """Return the index of the most similar point of another image, None without any."""
        similar = []
        for q in range(len(other.points)):
            alike = [
                max(0.0, float(a[point] @ b[q])) for a, b in zip(image.vectors, other.vectors, strict=True)
            ]
            near = np.linalg.norm(image.places[point] - other.places[q]) <= reach
            similar.append(np.prod(alike) if near else 0.0)
        return int(np.argmax(similar)) if max(similar) > 0 else None

    rows = []
    for template in images:
        row = []
        for image in images:
            for p in range(len(image.points)):
                there = best(p, image, template)
                back = None if there is None else best(there, template, image)
                again = back is not None and np.linalg.norm(image.places[back] - image.places[p]) <= 0.03
                row.append(image is template or again)
        rows.append(row)
    return rows


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("reach", [0.5, None])
def test_it_equals_the_loops(dims, reach):
    images = described(counts=(14, 12, 15), dims=dims)
    found, owner = found_again(images, reach)
    assert owner.tolist() == [0] * 14 + [1] * 12 + [2] * 15
    expected = slow(images, np.inf if reach is None else reach)
    assert found.tolist() == expected
    assert 0 < found[0, 14:].mean() < 1


def test_another_point_at_the_same_place_is_as_good():
    vectors = np.eye(3)
    one = DescribedImage("one", np.zeros((2, 2)), np.array([[0.5, 0.5], [0.52, 0.5]]), (vectors[[0, 0]],))
    far = DescribedImage("far", np.zeros((2, 2)), np.array([[0.5, 0.5], [0.6, 0.5]]), (vectors[[0, 0]],))
    other = DescribedImage("other", np.zeros((1, 2)), np.array([[0.5, 0.5]]), (vectors[[0]],))
    assert found_again([one, other])[0].tolist() == [[True, True, True], [True, True, True]]
    assert found_again([far, other])[0].tolist() == [[True, True, True], [True, False, True]]


def test_an_image_without_points_shows_nothing():
    found, owner = found_again(described(counts=(3, 0, 2)))
    assert found.shape == (3, 5)
    assert found[1].tolist() == [0] * 5
    assert image_means(found[0], owner, 3)[:2].tolist() == [1, 0]


def test_the_first_choices_are_near_the_best_ones():
    found, owner = found_again(described(counts=(9,) * 8, channels=(3,), seed=1))
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
    choice = choose_images(*found_again(images), 2)
    assert choice.chosen == (0, 3)
    assert choice.coverage == pytest.approx((2 / 4, 1))


@pytest.mark.parametrize("number", [0, 3])
def test_too_few_images_are_refused(number):
    with pytest.raises(ValueError, match=f"{number} of 3 images cannot be chosen: give more images"):
        choose_images(*found_again(described()), number)


def test_what_is_annotated_comes_first_and_others_show_what_it_does_not():
    one, other = np.eye(2)
    images = [
        DescribedImage(str(n), np.zeros((2, 2)), np.zeros((2, 2)), (np.stack([vector] * 2),))
        for n, vector in enumerate([one, one, one, other, other])
    ]
    choice = choose_images(*found_again(images), 2, given=[4])
    assert choice.chosen == (4, 0)
    assert choice.coverage == pytest.approx((1 / 4, 1))
    with pytest.raises(ValueError, match="2 images are given, and 1 are to be chosen with them"):
        choose_images(*found_again(images), 1, given=[4, 3])
    with pytest.raises(ValueError, match="an image is given twice"):
        choose_images(*found_again(images), 3, given=[4, 4])
