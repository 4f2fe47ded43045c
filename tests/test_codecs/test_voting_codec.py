"""Regression voting: the published count of voters, the right axes, and a loop over pixels."""

import itertools

import pytest
import torch

from mmlandmark.codecs import VotingCodec
from mmlandmark.models.losses import HeatmapBCELoss
from mmlandmark.ops import gaussian_heatmap
from mmlandmark.registry import MODELS
from test_codecs.downstream_codecs import images_and_samples, pixels_of

SIZE = {2: (28, 40), 3: (12, 14, 20)}


def encoded(codec, points, size, weights=None):
    weights = torch.ones(points.shape[:2]) if weights is None else weights
    return codec.encode(points, weights > 0, weights, size, size)


def perfect(codec, points, size):
    """Return the activated maps that a network is to learn: from everywhere the way to the landmark."""
    offsets = (points.view(*points.shape[:2], *[1] * len(size), -1) - pixels_of(size)) / codec.radius
    discs = encoded(codec, points, size).heatmaps - 0.01 * offsets.norm(dim=-1)  # the nearest come first
    return torch.cat([discs[:, :, None], offsets.movedim(-1, 2)], 2).flatten(1, 2)


def points_in(size, batch=2, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 + torch.rand(batch, count, len(size), generator=generator) * (torch.tensor(size[::-1]) - 7.0)


def slow_votes(disc, offsets, radius, count):
    """Return the votes of one landmark, counted one by one, from a map of a disc and (D, *S) offsets."""
    votes = torch.zeros_like(disc)
    order = sorted(itertools.product(*map(range, disc.shape)), key=lambda place: -float(disc[place]))
    for place in order[:count]:
        target = [
            p + round(radius * float(offsets[(axis, *place)]))
            for p, axis in zip(place, reversed(range(disc.ndim)), strict=True)
        ]
        if all(0 <= p < side for p, side in zip(target, disc.shape, strict=True)):
            votes[tuple(target)] += 1
    return votes / count


@pytest.mark.parametrize("dims", [2, 3])
def test_votes_equal_a_loop_over_pixels(dims):
    torch.manual_seed(0)
    codec, size = VotingCodec(3.0, dims=dims), SIZE[dims]
    maps = torch.cat([torch.rand(2, 2, 1, *size), 2 * torch.randn(2, 2, dims, *size)], 2)
    votes = codec.votes(maps.flatten(1, 2))
    for b, k in itertools.product(range(2), range(2)):
        expected = slow_votes(maps[b, k, 0], maps[b, k, 1:], 3.0, codec.voters)
        torch.testing.assert_close(votes[b, k], expected)
    assert (votes.flatten(2).sum(-1) < 1).all()  # some lead out of the map


def test_as_many_vote_as_published():
    assert VotingCodec(41).voters == 5281
    assert VotingCodec(2.0, dims=3).voters == 33
    assert VotingCodec(0.3).voters == 1


@pytest.mark.parametrize("decoder", ["argmax", "local_centroid"])
@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_learned_is_decoded(dims, decoder):
    codec, size = VotingCodec(4.0, decoder=decoder, dims=dims), SIZE[dims]
    points = points_in(size)
    found = codec.decode(perfect(codec, points, size), size, spread=True)
    # All vote for the pixel that the landmark lies in.
    torch.testing.assert_close(found.points, points.round())
    torch.testing.assert_close(found.scores, torch.ones(2, 3))
    assert not found.spread.any()
    twice = tuple(2 * side for side in size)  # maps of half the size of the image
    far = codec.decode(perfect(codec, points, size), twice).points
    torch.testing.assert_close(far, 2 * points.round() + 0.5)


def test_offsets_and_sides_are_not_exchanged():
    codec, size = VotingCodec(4.0), (20, 60)
    maps = torch.zeros(1, 3, *size)
    maps[0, 0, 5:8, 50:53] = 1.0
    maps[0, 1] = -20 / 4.0  # to the left
    maps[0, 2] = 7 / 4.0  # down
    codec.voters = 9
    assert torch.equal(codec.votes(maps)[0, 0, 12:15, 30:33], torch.full((3, 3), 1 / 9))
    codec.window = 2
    assert codec.decode(maps, size).points[0].tolist() == [[31.0, 13.0]]


def test_votes_for_places_outside_are_void():
    codec = VotingCodec(1.0)
    codec.voters = 4
    maps = torch.zeros(1, 3, 4, 5)
    maps[0, 0, 1, :4] = 1.0
    maps[0, 1, 1, :4] = torch.tensor([-1.0, -2.0, 9.0, float(2**40)])  # beside the row, not in the next one
    assert not codec.votes(maps).any()
    maps[0, 1, 1, 0] = 4.0
    assert codec.votes(maps)[0, 0, 1].tolist() == [0, 0, 0, 0, 0.25]


def test_a_broken_map_shows_nothing_and_spares_the_others():
    codec, size = VotingCodec(4.0), SIZE[2]
    points = points_in(size, batch=1)
    raw = perfect(codec, points, size)
    raw[0, 4, 3, 3] = torch.nan  # an offset of the second landmark
    raw[0, 6, 3, 3] = torch.inf  # the disc of the third
    found = codec.decode(codec.activate(raw), size, spread=True)
    assert found.points.isfinite().all(-1).tolist() == [[True, False, False]]
    assert found.scores[0, 1:].tolist() == [0, 0]
    torch.testing.assert_close(found.points[0, 0], points[0, 0].round())


def test_an_image_does_not_depend_on_its_batch():
    codec = VotingCodec(4.0)
    torch.manual_seed(0)
    maps = torch.randn(3, 6, *SIZE[2])
    together = codec.decode(maps, SIZE[2])
    for i in range(3):
        assert torch.equal(codec.decode(maps[i : i + 1], SIZE[2]).points[0], together.points[i])


def test_several_candidates():
    codec, size = VotingCodec(4.0), (40, 48)
    here, there = torch.tensor([[[10.0, 12.0]]]), torch.tensor([[[35.0, 30.0]]])
    first, second = perfect(codec, here, size), perfect(codec, there, size)
    maps = torch.where(encoded(codec, there, size).heatmaps > 0, second, first)
    found = codec.candidates(maps, size, 3)
    assert found.points[0, 0, :2].tolist() in ([[10, 12], [35, 30]], [[35, 30], [10, 12]])
    assert found.points[0, 0, 2].isnan().all()
    assert found.weights[0, 0].sum() == pytest.approx(1)


def test_the_disc_alone():
    """As after training with a loss of the disc's map alone, which leaves the offsets as they were."""
    codec = VotingCodec(4.0, voting=False, decoder="integral")
    points = points_in(SIZE[2])
    maps = gaussian_heatmap(points, SIZE[2], 1.0)
    maps = torch.cat([maps[:, :, None], torch.rand(2, 3, 2, *SIZE[2])], 2).flatten(1, 2)
    found = codec.decode(maps, SIZE[2])
    torch.testing.assert_close(found.points, points, atol=0.02, rtol=0)
    torch.testing.assert_close(found.scores, maps[:, ::3].flatten(2).amax(-1))


def test_the_target_is_a_disc():
    codec, points = VotingCodec(4.0), points_in(SIZE[2])
    weights = torch.ones(2, 3)
    weights[0, 1] = 0
    target = encoded(codec, points, SIZE[2], weights)
    away = (points.view(2, 3, 1, 1, 2) - pixels_of(SIZE[2])).norm(dim=-1)
    assert torch.equal(target.heatmaps, ((away <= 4) & (weights > 0)[..., None, None]).float())
    assert target.maps_per_landmark == 3
    raw = torch.randn(2, 9, *SIZE[2])
    plain = encoded(codec, points, SIZE[2], weights)
    loss = HeatmapBCELoss()
    errors = torch.nn.functional.binary_cross_entropy_with_logits(
        raw[:, ::3], plain.heatmaps, reduction="none"
    )
    torch.testing.assert_close(loss(raw, target), errors[weights > 0].mean())


def test_a_mirrored_image_points_the_other_way():
    codec, size = VotingCodec(4.0), SIZE[2]
    points = points_in(size)
    mirrored = points * torch.tensor([-1.0, 1.0]) + torch.tensor([size[1] - 1.0, 0.0])
    swapped = [1, 0, 2]
    back = codec.mirrored(perfect(codec, mirrored[:, swapped], size), swapped)
    torch.testing.assert_close(back, perfect(codec, points, size))


def test_maps_at_another_size():
    codec, points = VotingCodec(4.0), torch.tensor([[[20.0, 13.0]]])
    small = codec.resized(perfect(codec, points, (28, 40)), (14, 40))
    way = (points[0, 0, 1] + 0.5) / 2 - 0.5 - torch.arange(14.0)
    torch.testing.assert_close(small[0, 2, :, 0], way / 4)
    torch.testing.assert_close(small[0, 1, 0], (20 - torch.arange(40.0)) / 4)
    assert codec.comparable_by() == dict(type="VotingCodec", radius=4.0)
    with pytest.raises(ValueError, match="VotingCodec cannot take given maps as a target"):
        codec.given_target(small, None)


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_trained_and_decoded(dims):
    torch.manual_seed(0)
    size = {2: (28, 36), 3: (14, 16, 18)}[dims]
    images, samples = images_and_samples(size, batch=3 if dims == 2 else 2)
    head = dict(
        type="HeatmapHead",
        num_landmarks=2,
        codec=dict(type="VotingCodec", radius=4.0, window=2),
        loss=[dict(type="HeatmapBCELoss", loss_weight=2), dict(type="OffsetL1Loss")],
    )
    backbone = dict(type="UNet", widths=(8, 12))
    model = MODELS.build(dict(type="LandmarkDetector", dims=dims, backbone=backbone, head=head))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(70):
        losses = model(images, samples, "loss")
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert set(losses) == {"loss_heatmapbce", "loss_offsetl1"}
    with torch.no_grad():
        predicted = model.eval()(images, samples, "predict")
    errors = torch.stack([(s.pred_landmarks - s.gt_landmarks).norm(dim=-1) for s in predicted])
    assert float(errors.mean()) < 1.0  # of 10 pixels before
    assert all((s.pred_scores > 0.1).all() for s in predicted)


def test_bad_arguments():
    with pytest.raises(ValueError, match="must be positive"):
        VotingCodec(0)
