"""Adapters of landmarks: routing, both wirings, sizes by hand, and what learns."""

import copy

import pytest
import torch

from mmlandmark.apis import count_costs
from mmlandmark.models.assembly import build_part
from mmlandmark.models.necks import AdapterDecoder, EmbeddingDecoder
from mmlandmark.registry import MODELS
from mmlandmark.utils.checkpoint import check_state_dict, complete_state

K = 3
NARROW = dict(widths=(6, 7, 5), embedding=2, receptive_fields=2)
PUBLISHED = dict(type="AdapterDecoder", widths=(128, 64, 128, 256))
SMALL = dict(
    type="AdapterDecoder", widths=(4, 5), adapter_channels=3, embedding=2, receptive_fields=1, norm_cfg=None
)
VGG = dict(type="VGG", depth=19, pooled=True)


def neck(dims=2, **kwargs):
    torch.manual_seed(0)
    own = AdapterDecoder((3, 4, 5, 4), K, dims, **(NARROW | dict(adapter_channels=2) | kwargs))
    for norm in own.modules():  # statistics that tell landmarks apart
        if getattr(norm, "running_mean", None) is not None:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(norm.weight, 1, 0.2)
            torch.nn.init.uniform_(norm.bias, 0.2, 1)  # so that activations let most pass
    return own.double()


def levels_of(batch, dims=2):
    torch.manual_seed(1)
    sides = ((3, 16), (4, 8), (5, 4), (4, 2))
    return [torch.randn(batch, c, *[side] * dims).double() for c, side in sides]


def chosen(levels, cases):
    return [level[cases] for level in levels]


@pytest.mark.parametrize("independent", [False, True], ids=["published", "independent"])
@pytest.mark.parametrize(
    ("dims", "changes"),
    [
        (2, {}),
        (3, {}),
        (2, dict(full_size=True)),
        (2, dict(receptive_fields=0)),
        (2, dict(norm_cfg=dict(type="IN"))),
        (2, dict(norm_cfg=None, upsample="nearest", num_convs=1)),
    ],
)
@torch.no_grad()
def test_all_landmarks_at_once_are_one_at_a_time(dims, changes, independent):
    own, levels = neck(dims, independent=independent, **changes).eval(), levels_of(2, dims)
    together = own(levels)
    mixed = own(chosen(levels, [0, 1, 0, 1]), torch.tensor([2, 0, 1, 2]))
    alone = {(b, k): own(chosen(levels, [b]), torch.tensor([k])) for b in range(2) for k in range(K)}
    for i, level in enumerate(together):
        slow = torch.stack([torch.cat([alone[b, k][i] for k in range(K)]) for b in range(2)])
        torch.testing.assert_close(level, slow, atol=1e-11, rtol=0)
        torch.testing.assert_close(mixed[i], slow[[0, 1, 0, 1], [2, 0, 1, 2]], atol=1e-11, rtol=0)
        # Nothing is a landmark's own at a deepest level without a field.
        nothing = i == len(together) - 1 and changes.get("receptive_fields") == 0
        assert torch.equal(slow[:, 0], slow[:, 1]) == nothing


@torch.no_grad()
def test_without_adapters_it_is_the_plain_decoder():
    plain = EmbeddingDecoder((3, 4, 5, 4), **NARROW).double().eval()
    own = neck(adapter_channels=0).eval()
    assert not own.takes_landmarks
    own.load_state_dict(plain.state_dict())
    levels = levels_of(2)
    for made in (own(levels), own(levels, torch.tensor([0, 2]))):
        assert all(torch.equal(a, b) for a, b in zip(made, plain(levels), strict=True))


@torch.no_grad()
def test_published_shared_maps_see_the_adapters_and_independent_ones_do_not():
    """A change of one landmark's adapter: how far it reaches."""
    for independent in (False, True):
        own, levels = neck(independent=independent).eval(), levels_of(1)
        before: tuple = own(levels)
        shared: list = []
        handle = own.up3.register_forward_hook(lambda _, seen, made, to=shared: to.append(made))
        own(levels, torch.tensor([1]))
        for parameter in own.adapters[1]["up1"].parameters():
            parameter.mul_(1.5)
        own(levels, torch.tensor([1]))
        handle.remove()
        after = own(levels)
        assert torch.equal(*shared) == independent
        for i, (a, b) in enumerate(zip(before, after, strict=True)):
            torch.testing.assert_close(a[:, [0, 2]], b[:, [0, 2]], atol=1e-11, rtol=0)
            assert torch.equal(a[:, 1], b[:, 1]) == (i == 3)  # the deepest level comes before it


def adapted(seen, made):
    """Return the parameters of two 3x3 convolutions with bias and batch norm."""
    return 9 * seen * made + 3 * made + 9 * made * made + 3 * made


def field(seen, made):
    """Return the parameters of a receptive field block, branch by branch; a norm has two per channel."""
    point = seen * made + 2 * made
    branches = [
        point + 2 * (side * made * made + 2 * made) + 9 * made * made + 2 * made for side in (3, 5, 7)
    ]
    return point + sum(branches) + (9 * 4 * made * made + 2 * made) + point


@pytest.mark.parametrize(
    ("channels", "landmarks", "independent", "count"),
    [
        (0, 19, False, 58_008_576),  # that of EmbeddingDecoder
        (4, 2, False, None),
        (8, 1, True, None),
        (16, 1, True, None),
        (16, 19, False, 66_452_320),
        (32, 1, False, None),
    ],
)
def test_the_published_network_has_the_size_of_a_count_by_hand(channels, landmarks, independent, count):
    sizes = dict(num_landmarks=landmarks, adapter_channels=channels, independent=independent)
    with torch.device("meta"):
        encoder = build_part(VGG)
        own = build_part(dict(PUBLISHED, **sizes), None, encoder)
    c, more = channels, 0 if independent else channels
    # Above, skip: from 1/16 on to 1/2, and what is made of them.
    ups = [(512, 512, 256, 0), (256, 256, 128, 1), (128, 128, 64, 1), (64, 64, 128, 1)]
    fields = [(512, 0), (256, 1), (128, 1)]
    shared = sum(adapted(above + skip + new * more, width) for above, skip, width, new in ups)
    shared += sum(field(width + new * more, width) for width, new in fields)
    shared += sum(64 * (width + c) + 64 for width in (512, 256, 128, 64, 128))
    each = 0
    if c:
        each = sum(adapted(above + skip + new * c, c) for above, skip, _, new in ups)
        each += sum(field(width + new * c, c) for width, new in fields)
    counts = [sum(p.numel() for p in adapter.parameters()) for adapter in own.adapters]
    assert counts == [each] * (landmarks if c else 0)
    assert sum(p.numel() for p in own.parameters()) == shared + landmarks * each
    assert sum(p.numel() for p in encoder.parameters()) == 20_024_384
    assert count in (None, 20_024_384 + shared + landmarks * each)
    assert c != 16 or each == 440_096


def macs(count, independent):
    head = dict(type="TemplateHead", num_landmarks=count, codec=dict(type="GaussianHeatmapCodec", sigma=2))
    backbone = dict(type="UNet", in_channels=1, widths=(4, 5, 6), out_indices=(0, 1, 2), norm_cfg=None)
    model = MODELS.build(
        dict(type="TemplateDetector", backbone=backbone, neck=dict(SMALL, independent=independent), head=head)
    )
    (whole, *parts) = count_costs(model, (1, 16, 24), depth=1)
    return whole.macs, {part.name: part.macs for part in parts}


def test_multiply_adds_are_those_of_all_landmarks():
    whole, parts = zip(*(macs(count, True) for count in (1, 2, 3)), strict=True)
    assert whole[2] - whole[1] == whole[1] - whole[0]
    # Levels of 4 x 6, 8 x 12 and 16 x 24 pixels: of an adapter 3 channels, of an embedding 2.
    own = 96 * 9 * (6 + 5 + 3) * 3 + 384 * 9 * (5 + 3 + 4 + 3) * 3  # convolutions
    own += 24 * (field(6, 3) - 30 * 3)  # of the deepest level; norms do not count
    assert whole[1] - whole[0] == own + (24 + 96 + 384) * 3 * 2
    assert parts[0]["backbone"] == parts[2]["backbone"]
    # As published, further shared convolutions see what is a landmark's own.
    published = [macs(count, False)[0] for count in (1, 2)]
    assert published[1] - published[0] > own + 384 * 9 * 4 * 4
    # Of one landmark it is what its modules count one by one.
    torch.manual_seed(0)
    own_neck, seen = MODELS.build(dict(SMALL, in_channels=(4, 5, 6), num_landmarks=1)), []
    for module in own_neck.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, made: seen.append(m.weight.numel() * made[0, 0].numel())
            )
    levels = [torch.rand(1, c, 16 // s, 24 // s) for c, s in ((4, 1), (5, 2), (6, 4))]
    own_neck.eval()(levels, torch.tensor([0]))
    assert sum(seen) == own_neck.uncounted_macs(levels)


def test_only_the_adapter_of_the_landmark_learns():
    own, levels = neck().train(), levels_of(2)
    sum(level.sum() for level in own(levels, torch.tensor([1, 1]))).backward()
    for k, adapter in enumerate(own.adapters):
        assert all((p.grad is None) == (k != 1) for p in adapter.parameters())
    others = [p for name, p in own.named_parameters() if not name.startswith("adapters.")]
    assert all(p.grad is not None for p in others)


def test_an_optimizer_leaves_the_others_as_they_are():
    """Also if they have moved before, and with weight decay; and their batch norms count nothing."""
    own, levels = neck().train(), levels_of(2)
    optimizer = torch.optim.Adam(own.parameters(), 1e-2, weight_decay=1e-2)
    for landmark in (0, 1, 1):
        before = copy.deepcopy(own.adapters.state_dict())
        optimizer.zero_grad()
        sum(level.square().mean() for level in own(levels, torch.tensor([landmark] * 2))).backward()
        optimizer.step()
        moved = {
            key for key, value in own.adapters.state_dict().items() if not torch.equal(value, before[key])
        }
        assert {key.split(".")[0] for key in moved} == {str(landmark)}


def test_a_mixed_batch_in_training_counts_once():
    """Batch norms of shared convolutions see the batch as a whole, those of an adapter its own images."""
    own, levels = neck().train(), levels_of(4)
    own(levels, torch.tensor([2, 0, 2, 0]))
    counts = {
        key: int(value) for key, value in own.state_dict().items() if key.endswith("num_batches_tracked")
    }
    assert {n for key, n in counts.items() if not key.startswith("adapters.")} == {1}
    assert {key.split(".")[1]: n for key, n in counts.items() if key.startswith("adapters.")} == {
        "0": 1, "1": 0, "2": 1,
    }  # fmt: skip


def test_recomputing_changes_nothing():
    plain, again = neck().train(), neck(with_checkpoint=True).train()
    for own in (plain, again):
        sum(level.square().sum() for level in own(levels_of(3), torch.tensor([0, 2, 0]))).backward()
    for (name, a), b in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad)


def test_in_training_all_landmarks_have_a_gradient():
    own, levels = neck().train(), levels_of(2)
    made = own(levels)
    assert [tuple(level.shape[:3]) for level in made] == [(2, K, 2)] * 4
    sum(level.square().sum() for level in made).backward()
    assert all(p.grad is not None for p in own.parameters())


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="got num_landmarks=0, adapter_channels=16"):
        AdapterDecoder((3, 4), 0)
    with pytest.raises(ValueError, match="got num_landmarks=3, adapter_channels=-1"):
        AdapterDecoder((3, 4), 3, adapter_channels=-1)
    with pytest.raises(ValueError, match="neither dilated=True nor upsample='transposed'"):
        AdapterDecoder((3, 4), 3, upsample="transposed")
    own = neck()
    with pytest.raises(ValueError, match="1 landmarks for 2 images"):
        own(levels_of(2), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"of the landmarks 0..2, got \[0, 3\]"):
        own(levels_of(2), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="has 4 levels, the encoder returns 3"):
        own(levels_of(2)[:3])


@pytest.mark.parametrize("independent", [False, True], ids=["published", "independent"])
@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_it_starts_as_the_decoder_without_adapters(dims, independent):
    """For every landmark it makes what the weights make that it starts from, though adapters are there."""
    own, levels = neck(dims, independent=independent), levels_of(2, dims)
    shared = EmbeddingDecoder((3, 4, 5, 4), dims, **NARROW).double()
    for weight in shared.parameters():
        torch.nn.init.normal_(weight)
    model = torch.nn.ModuleDict(dict(neck=own))
    state = {f"neck.{name}": value for name, value in shared.state_dict().items()}
    before = {name: value.clone() for name, value in own.state_dict().items() if name.startswith("adapters.")}

    assert complete_state(dict(state_dict=state), model) == ["neck"]
    check_state_dict(model, state, "x.pth")
    model.load_state_dict(state)

    assert all(torch.equal(own.state_dict()[name], value) for name, value in before.items())
    expected = shared.eval()(levels)
    for k in range(K):
        for made, right in zip(own.eval()(levels, torch.tensor([k, k])), expected, strict=True):
            torch.testing.assert_close(made, right)
    assert complete_state(dict(own.state_dict(prefix="neck.")), model) == []


def test_what_starts_without_adapters_learns_to_use_them():
    own, levels = neck(independent=True), levels_of(2)
    state = EmbeddingDecoder((3, 4, 5, 4), **NARROW).double().state_dict()
    complete_state(state, own)
    own.load_state_dict(state)
    rate = torch.optim.SGD(own.parameters(), lr=0.1)
    for _ in range(2):
        rate.zero_grad()
        sum(level.square().mean() for level in own.train()(levels, torch.tensor([1, 1]))).backward()
        rate.step()
    assert all(p.grad.abs().sum() > 0 for p in own.adapters[1]["up1"].parameters() if p.ndim > 1)
