"""The detector: its modes, its coordinates, and mirrored images."""

import pytest
import torch

from mmlandmark.registry import MODELS
from test_models.detector_cases import CODEC, detector, samples


@pytest.mark.parametrize("dims", [2, 3])
def test_three_modes(dims):
    shape = (16, 32, 40)[-dims:]
    preprocessor = dict(type="LandmarkDataPreprocessor", channels_last=True)
    model, cases = detector(dims=dims, data_preprocessor=preprocessor), samples(shape=shape)
    images = torch.rand(2, 1, *shape)
    losses = model(images, cases, "loss")
    assert set(losses) == {"loss_ewc", "loss_spatialcrossentropy"}
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        assert model(images, mode="tensor").shape == (2, 3, *shape)
        predicted = model(images, cases, "predict")
    assert [s.sample_id for s in predicted] == ["case0", "case1"]
    assert predicted[0].pred_landmarks.shape == (3, dims)
    assert predicted[0].pred_scores.shape == (3,)
    with pytest.raises(ValueError, match="mode must be"):
        model(images, mode="guess")


@pytest.mark.parametrize("size", [(32, 40), (31, 37)])
def test_flip_averaging_is_exactly_equivariant(size):
    model = detector(test_cfg=dict(flip=True)).eval()
    pairs = ((0, 1),)
    image = torch.rand(1, 1, *size)
    with torch.no_grad():
        straight = model.heatmaps(image, [1, 0, 2])
        mirrored = model.heatmaps(image.flip(-1), [1, 0, 2])
        case = samples(batch=1, shape=size, flip_pairs=pairs)
        predicted = model(image, case, "predict")[0].pred_landmarks
        other = model(image.flip(-1), samples(batch=1, shape=size, flip_pairs=pairs), "predict")[
            0
        ].pred_landmarks
    assert torch.equal(straight, mirrored.flip(-1)[:, [1, 0, 2]])
    back = other[[1, 0, 2]] * torch.tensor([-1.0, 1.0]) + torch.tensor([size[1] - 1.0, 0.0])
    torch.testing.assert_close(predicted, back, atol=1e-3, rtol=0)


class PlainBackbone(torch.nn.Module):
    """The image itself, without out_channels."""

    def forward(self, images):
        return (images,)


def test_a_backbone_without_channels_is_named():
    head = dict(type="HeatmapHead", num_landmarks=1, codec=CODEC, loss=dict(type="EWCLoss"))
    plain = dict(type="LandmarkDetector", backbone=dict(type=PlainBackbone))
    with pytest.raises(
        ValueError, match="PlainBackbone does not say its out_channels: give in_channels of He"
    ):
        MODELS.build(dict(plain, head=head))
    assert MODELS.build(dict(plain, head=dict(head, in_channels=3)))(torch.rand(1, 3, 8, 8)).ndim == 4
