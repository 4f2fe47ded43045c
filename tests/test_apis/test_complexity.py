"""Parameters and multiply-adds, against published numbers."""

from pathlib import Path

import pytest
import torch

from mmlandmark.apis import count_costs, count_models
from mmlandmark.engine import joined_config, load_config, plan_of_stages, stage_to_test
from mmlandmark.models.assembly import filled
from mmlandmark.registry import MODELS
from mmlandmark.utils.shipped import config_root

CONFIGS = Path(config_root()) / "fsf_ld"
IMAGE = (3, 512, 256)


def build(config):
    with torch.device("meta"):  # starting 46 million weights takes longer than counting them
        return MODELS.build(config.model)


def total(config, training=False, image=IMAGE):
    return count_costs(build(config), image, training, depth=0)[0]


@pytest.mark.parametrize(
    ("network", "landmarks", "parameters", "gibi_macs"),
    [
        # Tables 1 to 3 of FSF-LD (Huang et al. 2022). The cells copied there from another row are listed in
        # configs/fsf_ld/README.md; here stands what the networks have.
        ("unet4", 37, 1_948_069, 19.9375),
        ("unet4", 19, 1_947_475, 19.8671875),
        ("unet4", 5, 1_947_013, 19.8125),
        ("unet5", 37, 31_381_285, 104.0),
        ("unet5", 19, 31_380_115, 103.859375),
        ("unet5", 5, 31_379_205, 103.75),
        ("seg-unet5", 37, 46_022_154, 177.3515625),
        ("seg-unet5", 19, 46_019_814, 177.0703125),
        ("seg-unet5", 5, 46_017_994, 176.8515625),
        ("hrnet-w18", 37, 9_318_595, 8_505_311_232 / 2**30),
        ("hrnet-w18", 19, 9_318_253, 7.9187164306640625),
        ("hrnet-w18", 5, 9_317_987, 7.91679382324218750),
    ],
)
def test_the_networks_of_fsf_ld(network, landmarks, parameters, gibi_macs):
    data = {37: "hand_512x256", 19: "isbi2015_512x512", 5: "hip_512x256"}[landmarks]
    config = load_config(CONFIGS / f"{network}_{data}.py")
    cost = total(config, training=True)
    assert (cost.parameters, cost.macs / 2**30) == (parameters, gibi_macs)


def test_a_branch_costs_nothing_in_the_test():
    config = load_config(CONFIGS / "seg-unet5_hand_512x256.py")
    used, trained = total(config), total(config, training=True)
    plain = total(load_config(CONFIGS / "unet5_hand_512x256.py"))
    assert used.macs == plain.macs + int(1.0625 * 2**30)
    assert used.parameters == plain.parameters + 2_102_784
    assert trained.macs > used.macs


def test_members_of_an_ensemble_are_counted_with_their_branches():
    config = load_config(CONFIGS / "seg-unet5_hip_512x256.py")
    alone = count_costs(build(config), IMAGE, training=True, depth=0)[0]
    config.model = dict(type="MixedEnsemble", detectors=[config.model, config.model])
    both = count_costs(build(config), IMAGE, training=True, depth=0)[0]
    assert (both.parameters, both.macs) == (2 * alone.parameters, 2 * alone.macs)


def test_what_terms_learn_is_no_part_of_the_student():
    config = load_config(CONFIGS / "fsf-ld_unet5_unet4_hip_512x256.py")
    student = plan_of_stages(config, "work_dirs/x").children[1].config
    student.model.terms = [
        dict(
            loss=dict(type="FeatureMSELoss", student_channels=64, teacher_channels=128),
            pairs=[("backbone.up2", "backbone.up3")],
        )
    ]
    alone = total(load_config(CONFIGS / "unet4_hip_512x256.py"))
    assert total(student) == alone
    assert total(student, training=True).parameters == alone.parameters + 64 * 128 + 128


def test_levels_that_only_training_supervises():
    config = load_config(CONFIGS / "unet4_hip_512x256.py")
    config.model.backbone.out_indices = (0, 1)
    config.model.head.level_weights = (1.0, 0.5)
    used, trained = total(config), total(config, training=True)
    assert trained.macs - used.macs == 64 * 5 * 256 * 128


@pytest.mark.parametrize("data", ["hand_512x256", "isbi2015_512x512", "hip_512x256"])
@pytest.mark.parametrize("method", ["fsf-ld", "fast-kd"])
@pytest.mark.parametrize("teacher", ["unet5", "seg-unet5"])
def test_a_distilled_student_costs_what_it_costs_alone(method, teacher, data):
    config = load_config(CONFIGS / f"{method}_{teacher}_unet4_{data}.py")
    first, second = plan_of_stages(config, "work_dirs/x").children
    alone = total(load_config(CONFIGS / f"unet4_{data}.py"))
    assert total(second.config) == alone
    assert total(first.config) == total(load_config(CONFIGS / f"{teacher}_{data}.py"))


def test_modules_are_listed_with_all_that_is_inside():
    config = load_config(CONFIGS / "unet4_hand_512x256.py")
    costs = {cost.name: cost for cost in count_costs(build(config), IMAGE)}
    parts = [costs[name] for name in ("backbone", "head")]
    assert costs[""].macs == sum(cost.macs for cost in parts)
    assert costs[""].parameters == sum(cost.parameters for cost in parts)
    assert costs["backbone.up1"].output == (128, 128, 64)
    # 3x3 convolutions of 384 -> 128 and 128 -> 128 channels at a quarter of the image.
    assert costs["backbone.up1"].macs == 9 * (384 + 128) * 128 * 128 * 64


def test_layers_are_counted_by_hand():
    head = dict(
        type="HeatmapHead",
        num_landmarks=2,
        codec=dict(type="GaussianHeatmapCodec", sigma=1.5),
        loss=dict(type="EWCLoss"),
        dims=3,
    )
    backbone = dict(type="UNet", in_channels=1, widths=(2, 4), dims=3, num_convs=1)
    model = MODELS.build(dict(type="LandmarkDetector", backbone=backbone, head=head))
    (cost,) = count_costs(model, (1, 4, 8, 8), depth=0)
    voxels = 4 * 8 * 8
    # down1 1 -> 2, down2 2 -> 4 at an eighth of the voxels, up1 6 -> 2, head 2 -> 2.
    assert cost.macs == 27 * voxels * 2 + 27 * voxels // 8 * 8 + 27 * voxels * 12 + voxels * 4


def test_counting_leaves_no_hooks():
    model = build(load_config(CONFIGS / "unet4_hip_512x256.py"))
    count_costs(model, IMAGE)
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.device("meta") == next(model.parameters()).device


def test_models_inside_of_a_model_are_counted():
    with torch.device("meta"):
        one = dict(load_config(CONFIGS.parent / "unet" / "unet_phantom-ceph_160x128_cpu.py").model)
        pair = dict(type="MixedEnsemble", detectors=[one, one])
        assert count_models(MODELS.build(one)) == 1
        assert count_models(MODELS.build(pair)) == 2
        assert count_models(MODELS.build(dict(type="MixedEnsemble", detectors=[pair, one]))) == 3


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("cc2d_vgg19_isbi2015_384x384", 1),
        ("sla_vgg19_isbi2015_384x384", 19),
        ("f2_vit-s8_isbi2015_224x224", 3),
    ],
)
def test_model_counts_are_those_of_cc2d_sla(name, models):
    """Table 1 of CC2D-SLA of *Landmarks Are Alike Yet Distinct*."""
    config = load_config(CONFIGS.parent / "one_shot" / f"{name}.py")
    if config.get("per_landmark"):
        config = joined_config(config, "work_dirs")
    elif config.get("stages"):
        config = stage_to_test(config, "work_dirs")
    with torch.device("meta"):
        assert count_models(MODELS.build(filled(MODELS, config.model, dims=2))) == models
