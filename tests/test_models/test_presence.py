"""The branch that learns which landmarks are in the image, alone and in a training on cropped phantoms."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from mmlandmark.apis import train_config
from mmlandmark.datasets.phantom import SCHEMAS, render_phantom
from mmlandmark.models.heads.presence import PresenceBranch, presence_target
from mmlandmark.structures import Detection, LandmarkDataSample
from mmlandmark.testing import tiny_config
from test_models.detector_cases import detector, samples


def test_the_target_is_what_is_known_of_the_input():
    shift = np.eye(3)
    shift[0, 2] = 10.0  # the augmentation moves the third point out of the input
    case = LandmarkDataSample.from_landmarks(
        [[3, 3], [np.nan, np.nan], [25, 3], [np.nan, np.nan], [29.5, 3]],
        sample_id="a", ori_shape=(20, 40), input_shape=(20, 30), input_from_original=shift,
        visibility=[1, -1, 1, 0, -1],
    )  # fmt: skip
    target, known = presence_target([case], (20, 30))
    assert target.tolist() == [[True, False, False, False, False]]
    assert known.tolist() == [[True, True, True, False, True]]


def test_a_model_without_the_branch_is_the_same_as_before():
    plain, asked = detector(), detector(head=dict(presence=dict()))
    assert plain.head.presence is None
    more = set(asked.state_dict()) - set(plain.state_dict())
    assert more == {f"head.presence.layers.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")}
    images = torch.rand(2, 1, 32, 40)
    assert set(asked(images, samples(), "loss")) - set(plain(images, samples(), "loss")) == {"loss_presence"}
    assert "pred_presence" not in plain.eval()(images, samples(), "predict")[0]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("annotators", [1, 2])
def test_presence_is_predicted_per_landmark(dims, annotators):
    head = dict(presence=dict(hidden=8), num_annotators=annotators)
    model = detector(dims=dims, head=head).eval()
    shape = (32, 40) if dims == 2 else (8, 32, 40)
    cases = samples(shape=shape)
    with torch.no_grad():
        predicted = model(torch.rand(2, 1, *shape), cases, "predict")
    for case in predicted:
        assert case.pred_presence.shape == (3,)
        assert ((case.pred_presence > 0) & (case.pred_presence < 1)).all()
        assert "pred_spread" not in case


def test_the_maps_learn_as_without_the_branch():
    model = detector(head=dict(presence=dict(loss_weight=5.0)))
    images, cases = torch.rand(2, 1, 32, 40), samples()
    model(images, cases, "loss")["loss_presence"].backward()
    assert model.head.convs[0].weight.grad is None
    assert model.head.presence.layers[0].weight.grad.abs().sum() > 0


def test_broken_detections_do_not_break_the_branch():
    branch = PresenceBranch(2, 1, 2)
    points = torch.tensor([[[torch.nan, torch.nan], [3.0, 4.0]]])
    made = Detection(points, torch.tensor([[0.0, torch.inf]]), torch.full((1, 2, 2, 2), torch.nan))
    assert torch.isfinite(branch(made, (8, 8))).all()
    nothing = LandmarkDataSample.from_landmarks(
        np.full((2, 2), np.nan), sample_id="a", ori_shape=(8, 8), visibility=[0, 0]
    )
    assert branch.loss(made, [nothing], (8, 8)).item() == 0  # nothing is known


def cropped_phantoms(folder, counts=(60, 30), side=64):
    """Write crops of cephalograms; landmarks outside of a crop are absent."""
    rng, rows = np.random.default_rng(0), []
    for split, first, count in (("train", 0, counts[0]), ("test", 1000, counts[1])):
        for i in range(first, first + count):
            image, points, spacing = render_phantom("ceph", 0, i, (side, side))
            size = (side * rng.uniform(0.55, 1, 2)).astype(int)
            corner = rng.integers(0, side - size + 1)
            (x, y), (w, h) = corner, size
            cv2.imwrite(str(folder / f"{i}.png"), image[y : y + h, x : x + w])
            inside = ((points >= corner - 0.5) & (points <= corner + size - 0.5)).all(axis=1)
            rows.append(
                dict(
                    image=f"{i}.png",
                    landmarks=[
                        p.tolist() if here else None for p, here in zip(points - corner, inside, strict=True)
                    ],
                    visibility=[1 if here else -1 for here in inside],
                    split=split,
                    spacing=float(spacing[0]),
                )
            )
    (folder / "crops.json").write_text(json.dumps(dict(schema=SCHEMAS["ceph"], samples=rows)))
    return folder / "crops.json"


@pytest.mark.slow
def test_landmarks_outside_of_a_crop_are_told(tmp_path):
    file = cropped_phantoms(tmp_path)

    def loader(split):
        steps = [dict(type="LoadImage"), dict(type="Resize", size=(32, 32))]
        data = dict(
            type="LandmarkDataset", ann_file=str(file), data_root=str(tmp_path), split=split,
            image_cache=dict(mode="ram"), serialize_data=False, test_mode=split == "test",
            pipeline=[*steps, dict(type="Resample"), dict(type="PackInputs")],
        )  # fmt: skip
        sampler = dict(type="DefaultSampler", shuffle=split == "train")
        return dict(batch_size=6, num_workers=0, sampler=sampler, dataset=data)

    config = tiny_config(tmp_path / "run", max_epochs=8)
    codec = dict(type="GaussianHeatmapCodec", sigma=2.0, activation="softmax")
    loss = dict(type="SpatialCrossEntropyLoss")
    config.model.head.update(codec=codec, loss=loss, presence=dict())
    config.model.backbone.widths = (8, 16, 32)
    config.train_dataloader, config.val_dataloader = loader("train"), loader("test")
    config.test_dataloader = config.val_dataloader
    config.val_evaluator = [dict(type="LandmarkMetric", unit="px", radii=(4,)), dict(type="PresenceMetric")]
    config.optim_wrapper.optimizer.lr = 4e-3
    config.param_scheduler = []
    config.train_cfg.val_interval = 8
    metrics = train_config(config)
    assert metrics["num_absent"] > 50
    assert metrics["presence_auroc_landmarks"] > 0.85
    assert metrics["presence_auroc"] > 0.85
