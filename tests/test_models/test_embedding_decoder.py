"""Embeddings at several resolutions: the published network, and others."""

import pytest
import torch

from mmlandmark.models.assembly import build_part
from mmlandmark.models.necks import EmbeddingDecoder

PUBLISHED = dict(type="EmbeddingDecoder", widths=(128, 64, 128, 256))


@pytest.mark.parametrize(("full_size", "count"), [(True, 58_312_512), (False, 58_008_576)])
def test_the_published_network_has_the_published_size(full_size, count):
    with torch.device("meta"):
        encoder = build_part(dict(type="VGG", depth=19, pooled=True))
        decoder = build_part(dict(PUBLISHED, full_size=full_size), None, encoder)
        levels = decoder(encoder(torch.empty(1, 3, 384, 384)))
    assert sum(p.numel() for part in (encoder, decoder) for p in part.parameters()) == count
    sides = [384, 192, 96, 48, 24, 12][0 if full_size else 1 :]
    assert [tuple(level.shape) for level in levels] == [(1, 64, side, side) for side in sides]
    fields = {name: field.join.conv.out_channels for name, field in decoder.fields.items()}
    assert list(fields.values()) == [128, 256, 512]


@pytest.mark.parametrize("dims", [2, 3])
def test_the_way_up_is_that_of_a_unet_without_the_fields(dims):
    """Fields stand beside the way up: what they hold changes only their own level."""
    torch.manual_seed(0)
    neck = EmbeddingDecoder((3, 4, 5), dims, widths=(6, 7), embedding=2, receptive_fields=1).eval()
    levels = [torch.rand(1, c, *[side] * dims) for c, side in ((3, 8), (4, 4), (5, 2))]
    with torch.no_grad():
        before = neck(levels)
        for parameter in neck.fields.parameters():
            parameter.mul_(2)
        after = neck(levels)
    assert [m.shape[1] for m in before] == neck.out_channels == [2, 2, 2]
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match="EmbeddingDecoder needs 2 widths, one for each of 3 levels"):
        EmbeddingDecoder((3, 4, 5), widths=(3, 4, 5))
    with pytest.raises(ValueError, match=r"receptive_fields must lie in 0..3, got 4"):
        EmbeddingDecoder((3, 4, 5), receptive_fields=4)
