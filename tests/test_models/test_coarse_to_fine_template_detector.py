"""The fine stage of FM-OSD: features of patches and of the whole image, mapped back to the pixel."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.run_checks import check_run
from mmlandmark.models.detectors import plain_config
from mmlandmark.models.detectors.patches import cut_patches, frames_of, patch_corners
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.testing import tiny_config

K = 4
SIZE, PATCH = {2: (60, 84), 3: (24, 28, 32)}, {2: (24, 20), 3: (18, 16, 20)}
POINTS = {  # at two corners, near a border and in the middle
    2: [[0.0, 0.0], [83.0, 59.0], [40.0, 2.0], [37.0, 33.0]],
    3: [[0.0, 0.0, 0.0], [31.0, 27.0, 23.0], [16.0, 1.0, 12.0], [15.0, 14.0, 11.0]],
}


def template_detector(widths=(6, 16), **head):
    codec = dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax")
    head = dict(type="TemplateHead", num_landmarks=K, codec=codec, **head)
    backbone = dict(type="ConvStack", in_channels=1, widths=widths, kernel_sizes=(5,) * len(widths))
    return dict(type="TemplateDetector", backbone=backbone, head=head)


def build(dims=2, **changes):
    torch.manual_seed(0)
    config = dict(
        type="CoarseToFineTemplateDetector",
        coarse=template_detector(),
        fine=template_detector(loss=dict(type="HeatmapMSELoss"), matching=dict(size=PATCH[dims])),
        context="coarse",
        patch_size=PATCH[dims],
        shrink=2,
        batch_size=3,
        dims=dims,
    )
    return MODELS.build(config | changes).eval()


def item(dims=2, points=None, seed=0, stored=False):
    torch.manual_seed(seed)
    points = np.array(POINTS[dims] if points is None else points)
    sample = LandmarkDataSample.from_landmarks(points, sample_id="one", ori_shape=SIZE[dims])
    image = torch.rand(1, *SIZE[dims])
    if stored:
        sample.set_metainfo(dict(value_range=(10.0, 210.0)))
        image = (10 + 200 * image).round().to(torch.uint8)
    return dict(inputs=image, data_samples=sample)


def batch(*items):
    return pseudo_collate(list(items))


def find_all(model, rough):
    """Let the coarse detector answer with given places."""
    detection = model.detect_coarse

    def detect_coarse(inputs, flip_permutation=None):
        found = detection(inputs, flip_permutation)
        found.points[:] = torch.as_tensor(rough).to(found.points)
        return found

    model.detect_coarse = detect_coarse


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("context", ["coarse", None])
def test_the_templates_landmarks_are_found_to_the_pixel(dims, context):
    """Also in patches at the border, and when the coarse landmarks are wrong by some pixels."""
    model = build(dims, context=context)
    model.learn_templates([batch(item(dims))])
    assert model.shown_landmarks.all()
    noise = np.random.default_rng(0).uniform(-2, 2, (1, 1, K, dims))
    find_all(model, np.array(POINTS[dims]) + noise)
    (found,) = model.test_step(batch(item(dims)))
    np.testing.assert_array_equal(found.pred_landmarks, POINTS[dims])
    np.testing.assert_allclose(found.pred_scores.detach(), 1, atol=0.01)


def test_predictions_come_back_to_original_pixels():
    model = build()
    model.learn_templates([batch(item())])
    find_all(model, [[POINTS[2]]])
    case = item()
    turned = np.array([[0.0, -2.0, 100.0], [2.0, 0.0, 7.0], [0.0, 0.0, 1.0]])
    case["data_samples"].set_metainfo(dict(input_from_original=turned))
    (found,) = model.test_step(batch(case))
    x, y = np.array(POINTS[2]).T
    np.testing.assert_allclose(found.pred_landmarks, np.stack([(y - 7) / 2, (100 - x) / 2], 1))


def test_a_patch_larger_than_the_image_is_padded():
    model = build(patch_size=(64, 40), fine=template_detector())
    model.learn_templates([batch(item())])
    find_all(model, [[POINTS[2]]])
    (found,) = model.test_step(batch(item()))
    np.testing.assert_array_equal(found.pred_landmarks, POINTS[2])


def test_features_of_patch_and_whole_are_added_with_length_one():
    own = template_detector((5, 16))
    for part in (dict(), dict(context=own, context_size=(20, 42))):
        model = build(**part)
        images = torch.rand(2, 1, *SIZE[2])
        corners, cases = torch.tensor([[0, 0], [64, 36], [31, 5]]), torch.tensor([0, 0, 1])
        patches = cut_patches(images, cases, corners, PATCH[2], [0.0, 0.0])
        with torch.inference_mode():
            level, seen = model.features_of(patches, cases, frames_of(corners), model.context_of(images))
            detector = model.context if part else model.coarse
            sizes = (20, 42) if part else (30, 42)
            small = F.adaptive_avg_pool2d(images, sizes)
            whole = F.interpolate(detector.extract_features(small)[0], SIZE[2], mode="bilinear")
            wanted = F.normalize(model.fine.extract_features(patches)[0], dim=1)
        assert torch.equal(seen, patches)
        wanted = wanted + F.normalize(cut_patches(whole, cases, corners, PATCH[2], [0.0, 0.0]), dim=1)
        torch.testing.assert_close(level, wanted, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_the_loops():
    model = build(jitter=0.0).train()
    points = np.array(POINTS[2])
    points[1] = np.nan
    data = model.data_preprocessor(batch(item(points=points), item(seed=1)), training=True)
    loss = model(**data, mode="loss")["loss_heatmapmse"]
    context = model.context_of(data["inputs"])
    errors = []
    for case, landmarks in enumerate((points, np.array(POINTS[2]))):
        for point in landmarks[np.isfinite(landmarks).all(1)]:
            corner = patch_corners(torch.from_numpy(point)[None], PATCH[2], SIZE[2])
            cases = torch.tensor([case])
            patch = cut_patches(data["inputs"], cases, corner, PATCH[2], [0.0, 0.0])
            (level, _) = model.features_of(patch, cases, frames_of(corner), context)
            level, place = level[0].detach().double(), point - corner[0].numpy()
            anchor = level[:, int(place[1]), int(place[0])]
            for row, column in np.ndindex(*PATCH[2]):
                own = level[:, row, column]
                cosine = float(own @ anchor) / (float(own.norm() * anchor.norm()) + 1e-3)
                distance = math.dist((column, row), place)
                errors.append((cosine - math.exp(-(distance**2) / 8)) ** 2)
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-4)
    loss.backward()
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {"fine"}


def test_patches_of_a_training_step_jitter():
    model = build(jitter=0.9).train()
    data = model.data_preprocessor(batch(item()), training=True)
    seen = []
    model.fine.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model(**data, mode="loss")
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0][3], seen[2][3]), "the landmark in the middle"


def test_it_learns():
    model = build(jitter=0.2).train()
    data = model.data_preprocessor(batch(item()), training=True)
    optimizer = torch.optim.Adam(model.fine.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        torch.manual_seed(1)
        optimizer.zero_grad()
        losses.append(model(**data, mode="loss")["loss_heatmapmse"])
        losses[-1].backward()
        optimizer.step()
    assert losses[-1].item() < 0.8 * losses[0].item()


def test_pixels_stay_as_they_are_stored():
    """Images of 8 bits, with their own black and white, give what their floats give."""
    found = []
    for stored in (False, True):
        model = build()
        model.learn_templates([batch(item(stored=stored))])
        find_all(model, [[POINTS[2]]])
        found.append((model.test_step(batch(item(seed=1, stored=stored)))[0], model.fine.head.template0))
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=0.01)
    torch.testing.assert_close(found[0][0].pred_scores, found[1][0].pred_scores, rtol=0, atol=0.01)


def test_landmarks_that_the_template_lacks_are_not_predicted():
    model = build()
    with pytest.raises(ValueError, match="has learnt no template"):
        model.test_step(batch(item()))
    points = np.array(POINTS[2])
    points[0], points[1] = np.nan, 200
    model.learn_templates([batch(item(points=points))])
    find_all(model, [[POINTS[2]]])
    (found,) = model.test_step(batch(item()))
    assert torch.isfinite(found.pred_landmarks).all(1).tolist() == [False, False, True, True]
    with pytest.raises(ValueError, match=r"2 templates for model.fine.head.num_templates=1"):
        model.learn_templates([batch(item())] * 2)


def test_a_coarse_detector_by_template_needs_no_template_of_its_own_here():
    """What it has learnt travels with its weights."""
    coarse = MODELS.build(template_detector()).eval()
    torch.manual_seed(0)
    small = F.adaptive_avg_pool2d(item()["inputs"][None], (30, 42))[0]
    sample = LandmarkDataSample.from_landmarks(
        (np.array(POINTS[2]) - 0.5) / 2, sample_id="small", ori_shape=(30, 42)
    )
    coarse.learn_templates([batch(dict(inputs=small, data_samples=sample))])
    model = build()
    model.coarse.load_state_dict(coarse.state_dict())
    assert set(model.remade_buffers) == {f"fine.head.{name}" for name in model.fine.head.template_buffers}
    model.learn_templates([batch(item())])
    (found,) = model.test_step(batch(item()))
    np.testing.assert_array_equal(found.pred_landmarks, POINTS[2])


def test_only_the_fine_detector_is_in_training_mode():
    own = template_detector()
    model = build(context=own, context_size=(30, 42)).train()
    assert [part.training for part in (model.fine, model.coarse, model.context)] == [True, False, False]
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"fine"}


def test_what_only_training_needs_is_not_in_the_plain_config():
    ssl = dict(template_detector(), contrast=dict(type="CascadeContrastLoss"))
    config = dict(type="CoarseToFineTemplateDetector", coarse=ssl, fine=ssl, context=ssl, context_size=(9, 9))
    plain = plain_config(config)
    assert all("contrast" not in plain[part] for part in ("coarse", "fine", "context"))
    assert plain_config(dict(config, context="coarse"))["context"] == "coarse"


def checked(tmp_path, hooks=(), **changes):
    config = tiny_config(tmp_path, max_epochs=1)
    start = dict(type="Pretrained", checkpoint="coarse.pth")
    parts = dict(
        type="CoarseToFineTemplateDetector",
        coarse=dict(template_detector(), init_cfg=start),
        fine=template_detector(),
        context="coarse",
        patch_size=(24, 20),
        shrink=2,
    )
    config.model = Config(dict(model=parts | changes)).model
    config.custom_hooks = list(hooks)
    check_run(config, {}, "this run")


def test_a_run_needs_a_template_and_trained_parts(tmp_path):
    hook = dict(type="TemplateHook", template=dict())
    with pytest.raises(
        (ConfigError, ValueError), match="CoarseToFineTemplateDetector needs an annotated image"
    ):
        checked(tmp_path)
    with pytest.raises((ConfigError, ValueError), match="the coarse detector would stay untrained"):
        checked(tmp_path, [hook], coarse=template_detector())
    with pytest.raises((ConfigError, ValueError), match="the context would stay untrained"):
        checked(tmp_path, [hook], context=template_detector(), context_size=(30, 42))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(fine=dict(template_detector(), contrast=dict(type="CascadeContrastLoss"))), "without contrast"),
        (dict(fine=dict(template_detector(), template_view="image")), "without contrast or template_view"),
        (dict(test_cfg=dict(flip=True)), "leave align and test_cfg.flip out"),
        (dict(align=dict(pixel=1.0)), "leave align and test_cfg.flip out"),
        (dict(jitter=1.0), r"jitter must lie in \[0, 1\), got 1.0"),
        (dict(context="fine"), "context must be 'coarse', a config or None, got 'fine'"),
        (dict(context=template_detector()), "context_size is for the config of a context, which needs it"),
        (dict(context_size=(9, 9)), "context_size is for the config of a context"),
        (dict(coarse=template_detector((6, 8))), "a patch have 16 channels, those of the whole 8"),
    ],
)
def test_wrong_parts_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_the_context_is_that_of_a_template_detector():
    codec = dict(type="GaussianHeatmapCodec", sigma=2)
    head = dict(type="HeatmapHead", num_landmarks=K, codec=codec, loss=dict(type="EWCLoss"))
    plain = dict(template_detector(), type="LandmarkDetector", head=head)
    with pytest.raises(ValueError, match="the context needs a TemplateDetector, got LandmarkDetector"):
        build(coarse=plain)
    assert build(coarse=plain, context=None).context_of(torch.rand(1, 1, *SIZE[2])) is None


def test_the_context_is_one_map():
    adapters = dict(type="AdapterDecoder", widths=(8,), embedding=16, receptive_fields=0, adapter_channels=2)
    unet = dict(type="UNet", in_channels=1, widths=(4, 6), out_indices=(0, 1), norm_cfg=dict(type="BN"))
    coarse = dict(template_detector(), backbone=unet, neck=adapters)
    with pytest.raises(ValueError, match="its neck makes one per landmark: give context"):
        build(coarse=coarse)
    assert build(coarse=coarse, context=None).context is None
