"""Templates are encoded by the weights that predict, and by those that are saved."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch

from mmlandmark import apis
from mmlandmark.engine import LandmarkRunner, latest_checkpoint
from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.hooks import TemplateHook, template_hook
from mmlandmark.engine.run_checks import check_run
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.registry import DATASETS, MODELS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.dataset_tree import leaf_datasets

NEURAL = dict(
    _delete_=True,
    type="TemplateDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.4, std=0.25, channels=1),
    backbone=dict(type="UNet", in_channels=1, widths=(4, 8), out_indices=(0, 1), norm_cfg=dict(type="BN")),
    head=dict(
        type="TemplateHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=2.0, decoder="argmax"),
    ),
    contrast=dict(type="CascadeContrastLoss"),
)
TEMPLATE = dict(type="TemplateHook", template=dict(offset=7, num_samples=1))
EMA = dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.2)


def config_of(folder, hooks=(TEMPLATE,), **overrides):
    loader = phantom_dataloader()
    loader["dataset"]["unlabelled"] = True
    common = dict(model=copy.deepcopy(NEURAL), custom_hooks=list(hooks), train_dataloader=loader)
    return tiny_config(folder, **{**common, **overrides})


def encoded(config, state):
    """Return what a detector with these weights makes of the template by itself."""
    dataset = DATASETS.build(dict(config.val_dataloader.dataset, offset=7, num_samples=1))
    model = MODELS.build(config.model)
    model.load_state_dict(state)
    for own in model.head.templates:
        own.zero_()
    item = dataset[0]
    model.eval().learn_templates([dict(inputs=[item["inputs"]], data_samples=[item["data_samples"]])])
    return model.head.templates


def assert_own_features(config, state):
    for level, own in enumerate(encoded(config, state)):
        torch.testing.assert_close(state[f"head.template{level}"], own)
        assert own.any()


@pytest.mark.parametrize("ema", [None, False, True])
def test_a_checkpoint_holds_the_features_of_its_own_weights(tmp_path, ema):
    """Also where its weights are a mean: with and without the mean of the buffers."""
    hooks = [TEMPLATE] if ema is None else [TEMPLATE, dict(EMA, update_buffers=ema)]
    config = config_of(tmp_path, hooks)
    runner = LandmarkRunner.from_cfg(copy.deepcopy(config))
    runner.train()
    checkpoint = load_checkpoint(latest_checkpoint(tmp_path))
    assert_own_features(runner.cfg, checkpoint["state_dict"])
    # The network that is being trained, and the mean, which may label images, have those of their own.
    averages = [hook.ema_model.module for hook in runner.hooks if hasattr(hook, "ema_model")]
    assert len(averages) == len(hooks) - 1
    for model in (runner.model, *averages):
        assert_own_features(runner.cfg, model.state_dict())
    same = torch.equal(checkpoint["state_dict"]["head.template0"], runner.model.head.template0)
    assert same == (ema is None)


class Watch(TemplateHook):
    """Compares, at the end of a validation, what was predicted with."""

    seen: list = []

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        state = {key: value.clone() for key, value in runner.model.state_dict().items()}
        assert_own_features(runner.cfg, state)
        self.seen.append(state["head.template0"])


def test_validations_see_the_features_of_the_mean_of_the_weights(tmp_path):
    Watch.seen = []
    hooks = [dict(TEMPLATE, type=Watch), dict(EMA, update_buffers=False)]
    LandmarkRunner.from_cfg(config_of(tmp_path, hooks)).train()
    batches = [[batch for batch in Watch.seen[i : i + 2]] for i in (0, 2)]
    assert all(torch.equal(*pair) for pair in batches)
    assert not torch.equal(batches[0][0], batches[1][0])


def test_all_processes_have_the_features_of_the_main_one(tmp_path, monkeypatch):
    runner = LandmarkRunner.from_cfg(config_of(tmp_path))
    (hook,) = [h for h in runner.hooks if isinstance(h, TemplateHook)]
    hook.before_run(runner)
    monkeypatch.setattr(template_hook, "broadcast", lambda values: values.fill_(5.0))
    hook.refresh(runner)
    head = runner.model.head
    assert all(bool((values == 5).all()) for values in (*head.templates, head.shown))


def test_pseudo_labels_come_from_the_weights_as_they_are(tmp_path):
    """The labels of the second epoch are what the checkpoint of the first predicts (as of CC2D-SLA)."""
    labels = dict(type="PseudoLabelHook", selector=dict(type="KeepAll"))
    config = config_of(tmp_path, [TEMPLATE, labels], **{"model.patches": dict(around="landmarks")})
    config.default_hooks.checkpoint.max_keep_ckpts = 2
    runner = LandmarkRunner.from_cfg(copy.deepcopy(config))
    runner.train()
    model = MODELS.build(runner.cfg.model).eval()
    model.load_state_dict(load_checkpoint(tmp_path / "epoch_1.pth")["state_dict"])
    (part,) = leaf_datasets(runner.train_dataloader.dataset)
    shown = DATASETS.build(dict(config.val_dataloader.dataset, offset=0, num_samples=4))
    items = [shown[n] for n in range(len(shown))]
    batch = dict(inputs=[i["inputs"] for i in items], data_samples=[i["data_samples"] for i in items])
    with torch.no_grad():
        predicted = torch.stack([sample.pred_landmarks for sample in model.test_step(batch)])
    np.testing.assert_allclose(part.pseudo_labels.points, predicted, atol=1e-4)


def test_a_model_file_predicts_without_a_template(tmp_path):
    config = config_of(tmp_path)
    LandmarkRunner.from_cfg(copy.deepcopy(config)).train()
    checkpoint = load_checkpoint(latest_checkpoint(tmp_path))
    metrics = apis.test_config(config, latest_checkpoint(tmp_path), out_dir=tmp_path / "test")
    packed = pack_checkpoint(config, checkpoint, "one")
    assert not {"contrast", "patches"} & set(packed.config["model"])
    packed.save(tmp_path / "one.mml.pth")
    again = apis.test_config(
        apis.prepare_config(tmp_path / "one.mml.pth", work_dir=str(tmp_path / "model")),
        tmp_path / "one.mml.pth",
        out_dir=tmp_path / "again",
    )
    assert again["mre"] == pytest.approx(metrics["mre"])


def test_one_annotated_image_and_a_folder_are_enough(tmp_path):
    """Without validation and test, and past an image that is broken."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for n in range(4):
        cv2.imwrite(str(tmp_path / "images" / f"{n}.png"), rng.integers(0, 255, (80, 72), dtype=np.uint8))
    (tmp_path / "images" / "broken.png").write_bytes(b"not an image")
    template = rng.integers(0, 255, (100, 90), dtype=np.uint8)  # of another size
    cv2.imwrite(str(tmp_path / "template.png"), template)
    points = rng.uniform(10, 80, (19, 2)).tolist()
    samples = [dict(id="one", image="template.png", landmarks=points)]
    (tmp_path / "points.json").write_text(json.dumps(dict(samples=samples)))
    pipeline = phantom_dataloader(train=False)["dataset"]["pipeline"]
    schema = dict(name="numbered", landmarks=[str(n) for n in range(19)])
    folder = dict(
        _delete_=True, type="ImageFolderDataset", data_root=str(tmp_path), image_dir="images", schema=schema
    )
    given = dict(type="LandmarkDataset", data_root=str(tmp_path), ann_file="points.json", pipeline=pipeline)
    config = config_of(
        tmp_path / "run",
        [dict(type="TemplateHook", template=given)],
        train_dataloader=dict(dataset=dict(folder, pipeline=pipeline)),
    )
    for key in [f"{part}_{what}" for part in ("val", "test") for what in ("dataloader", "evaluator", "cfg")]:
        config.pop(key)
    runner = LandmarkRunner.from_cfg(config)
    runner.train()
    assert len(runner.train_dataloader.dataset) == 4
    state = load_checkpoint(latest_checkpoint(tmp_path / "run"))["state_dict"]
    assert state["head.shown"].all()
    assert state["head.template0"].any()


def test_landmarks_that_the_template_lacks_are_named(tmp_path):
    hidden = dict(TEMPLATE, template=dict(offset=7, num_samples=1, missing=0.9))
    runner = LandmarkRunner.from_cfg(config_of(tmp_path, [hidden]))
    messages = []
    runner.logger.warning = lambda text, *args, **kwargs: messages.append(text)
    runner.train()
    (text,) = [m for m in messages if "will not be predicted" in m]
    lost = int((~runner.model.shown_landmarks).sum())
    assert 10 < lost < 19
    assert text.count("'") == 2 + 2 * lost  # the template and the landmarks are quoted
    predicted = runner.model.eval().test_step(next(iter(runner.val_dataloader)))
    assert int(predicted[0].pred_landmarks[:, 0].isnan().sum()) == lost


def test_a_template_without_landmarks_ends_the_run(tmp_path):
    hidden = dict(TEMPLATE, template=dict(offset=7, num_samples=1, unlabelled=True))
    with pytest.raises(ValueError, match="shows none of 19 landmarks"):
        LandmarkRunner.from_cfg(config_of(tmp_path, [hidden])).train()


def test_what_does_not_fit_is_said_before_the_first_batch(tmp_path):
    with pytest.raises(ConfigError, match=r"needs an annotated image: add dict\(type='TemplateHook'"):
        check_run(config_of(tmp_path, []), "the run")
    plain = tiny_config(tmp_path, custom_hooks=[TEMPLATE])
    with pytest.raises(ConfigError, match=r"needs a detector that takes templates.*not LandmarkDetector"):
        check_run(plain, "the run")
    alone = config_of(tmp_path, val_dataloader=None, test_dataloader=None)
    with pytest.raises(ConfigError, match="template names no type of dataset"):
        check_run(alone, "the run")


def test_a_loop_without_epochs_does_not_learn_from_templates(tmp_path):
    """They would be those of the weights that it began with."""
    steps = dict(_delete_=True, by_epoch=False, max_iters=4, val_interval=4)
    check_run(config_of(tmp_path, train_cfg=steps), "the run")
    labels = dict(type="PseudoLabelHook", by_epoch=False, selector=dict(type="KeepAll"))
    compared = dict(NEURAL, contrast=None, head=dict(NEURAL["head"], loss=dict(type="HeatmapMSELoss")))
    mixed = dict(phantom_dataloader(), unlabelled=dict(offset=50, num_samples=3))
    check_run(config_of(tmp_path, model=compared, train_dataloader=phantom_dataloader()), "the run")
    for changes in (
        dict(hooks=(TEMPLATE, labels), train_dataloader=mixed),
        dict(model=compared, train_dataloader=phantom_dataloader()),
    ):
        with pytest.raises(
            ConfigError, match=r"a loop without epochs encodes templates before.*count epochs"
        ):
            check_run(config_of(tmp_path, train_cfg=steps, **changes), "the run")


def test_there_is_one_kind_of_loss(tmp_path):
    both = dict(NEURAL, head=dict(NEURAL["head"], loss=dict(type="HeatmapMSELoss")))
    for model in (both, dict(NEURAL, contrast=None)):
        with pytest.raises(ConfigError, match=r"set either model\.contrast or model\.head\.loss"):
            check_run(config_of(tmp_path, model=model), "the run")


def test_another_number_of_templates_is_refused(tmp_path):
    two = dict(TEMPLATE, template=dict(offset=7, num_samples=2))
    with pytest.raises(ValueError, match=r"2 templates for model.head.num_templates=1"):
        LandmarkRunner.from_cfg(config_of(tmp_path, [two])).train()


def test_more_templates_than_in_training_are_encoded_for_a_test(tmp_path):
    apis.train_config(config_of(tmp_path / "run", max_epochs=1))
    checkpoint = latest_checkpoint(tmp_path / "run")
    more = dict(TEMPLATE, template=dict(offset=7, num_samples=3))
    config = config_of(tmp_path / "few", hooks=[more], **{"model.head.num_templates": 3})
    runner = LandmarkRunner.from_cfg(config)
    runner.load_checkpoint(str(checkpoint))
    runner.test()
    first = load_checkpoint(checkpoint)["state_dict"]
    for level, own in enumerate(runner.model.head.templates):
        assert len(own) == 3
        torch.testing.assert_close(own[:1], first[f"head.template{level}"])
        assert own[1:].flatten(1).any(1).all()
    assert runner.model.head.shown.all()


def test_augmented_copies_of_one_image_are_templates(tmp_path):
    loader = phantom_dataloader()
    one = dict(loader["dataset"], offset=7, num_samples=1)
    move = dict(type="RandomAffine", rotation=5)
    one["pipeline"] = [*one["pipeline"][:-2], move, *one["pipeline"][-2:]]
    copies = dict(type="RepeatDataset", times=4, fixed=True, dataset=one)
    hook = dict(type="TemplateHook", template=copies)
    config = config_of(tmp_path / "run", hooks=[hook], max_epochs=1, **{"model.head.num_templates": 4})
    apis.train_config(config)
    state = load_checkpoint(latest_checkpoint(tmp_path / "run"))["state_dict"]
    coarsest = state["head.template1"]
    assert all(not torch.equal(coarsest[0], other) for other in coarsest[1:])


def test_what_holds_a_template_has_its_pipeline(tmp_path):
    """A data set around the template needs no pipeline of its own, and may be given another."""
    config = config_of(tmp_path)
    usual = config.val_dataloader.dataset.pipeline
    one = {**config.val_dataloader.dataset.to_dict(), "num_samples": 1, "image_cache": dict(mode="ram")}
    del one["pipeline"]
    around = dict(type="RepeatDataset", times=2, dataset=one)
    made = TemplateHook(around)._config(config)
    assert (made["times"], made["dataset"]["pipeline"]) == (2, usual)
    assert "image_cache" not in made["dataset"]
    assert "pipeline" not in around["dataset"]
    other = [dict(type="PackInputs")]
    assert TemplateHook(around, other)._config(config)["dataset"]["pipeline"] == other


def test_a_file_may_be_given_on_the_command_line(tmp_path):
    config = config_of(tmp_path, [dict(type="TemplateHook", template=dict(type="LandmarkDataset"))])
    apis.running.give_inputs(config, dict(template="points.json"))
    assert config.custom_hooks[0].template.ann_file == "points.json"


def test_detectors_of_templates_are_an_ensemble(tmp_path):
    """Which keeps what each has learnt of its own template."""
    found = []
    for number in range(2):
        config = config_of(tmp_path / f"{number}", randomness=dict(seed=number), max_epochs=1)
        config.custom_hooks[0].template["offset"] = 7 + number
        apis.train_config(copy.deepcopy(config))
        checkpoint = latest_checkpoint(tmp_path / f"{number}")
        apis.test_config(copy.deepcopy(config), checkpoint, out_dir=tmp_path / f"test{number}")
        found.append(points_of(tmp_path / f"test{number}"))
    whole, weights = apis.build_ensemble([tmp_path / "0", tmp_path / "1"], tmp_path / "both")
    apis.test_config(whole, weights, out_dir=tmp_path / "both" / "test")
    np.testing.assert_allclose(points_of(tmp_path / "both" / "test"), np.mean(found, axis=0), atol=1e-3)


def points_of(folder):
    cases = json.loads((folder / "predictions.json").read_text())["cases"]
    return np.array([case["pred"] for case in sorted(cases, key=lambda case: case["sample_id"])])


# Three patterns of spots, each of which moves as a whole. In the template they lie at these mm, in the middle
# of pixels of 1 mm.
PLACES = np.array([[30.5, 25.5], [75.5, 40.5], [50.5, 72.5]])


def draw_patterns(path, places, size, spacing):
    """Write an image of (height, width) pixels, as it looks by pixels of so many mm."""
    rng = np.random.default_rng(3)
    y, x = ((np.arange(side) + 0.5) * spacing for side in size)
    image = np.zeros(size)
    for place in places:
        for dx, dy, brightness in np.column_stack([rng.uniform(-6, 6, (14, 2)), rng.uniform(-1, 1, 14)]):
            far = (x[None] - place[0] - dx) ** 2 + (y[:, None] - place[1] - dy) ** 2
            image += brightness * np.exp(-far / (2 * 1.5**2))
    assert cv2.imwrite(str(path), np.clip(128 + 90 * image, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("sizes", "step"),
    [
        # An image of the same extent by other pixels, made to the size of the others ...
        ([((96, 128), 1.0), ((120, 160), 0.8)], dict(type="Resize", size=(96, 128))),
        # ... and by mm: then images may also show more or less.
        ([((110, 140), 1.0), ((150, 150), 0.8)], dict(type="ResampleSpacing", spacing=1.0)),
    ],
    ids=["size", "spacing"],
)
def test_a_template_of_another_size_and_spacing_finds_the_landmarks_at_their_places(tmp_path, sizes, step):
    """Of patterns that random convolutions tell apart; by a template of pixels half as large."""
    (tmp_path / "images").mkdir()
    draw_patterns(tmp_path / "images" / "template.png", PLACES, (192, 256), 0.5)
    moves = np.random.default_rng(1).integers(-8, 9, (len(sizes), *PLACES.shape))
    samples = [dict(id="template", image="template.png", landmarks=(PLACES / 0.5 - 0.5).tolist())]
    for n, (size, spacing) in enumerate(sizes):
        draw_patterns(tmp_path / "images" / f"{n}.png", PLACES + moves[n], size, spacing)
        points = ((PLACES + moves[n]) / spacing - 0.5).tolist()
        samples.append(dict(id=f"{n}", image=f"{n}.png", landmarks=points, spacing=[spacing] * 2))
    steps = [dict(type="LoadImage"), step, dict(type="Resample"), dict(type="PackInputs")]
    data = dict(
        type="LandmarkDataset",
        data_root=str(tmp_path),
        ann_file="points.json",
        image_dir="images",
        pipeline=steps,
        serialize_data=False,
    )
    head = dict(NEURAL["head"], num_landmarks=len(PLACES))
    network = dict(type="ConvStack", in_channels=1, widths=(64,), kernel_sizes=(13,), padding_mode="reflect")

    def errors(mm):
        """Return (N, K) in mm, by a template whose pixels are said to be of so many mm."""
        samples[0]["spacing"] = [mm] * 2
        (tmp_path / "points.json").write_text(json.dumps(dict(samples=samples)))
        config = config_of(
            tmp_path / f"{mm}",
            [dict(type="TemplateHook", template=dict(data, ids=["template"]))],
            model=dict(NEURAL, backbone=network, head=head),
            randomness=dict(seed=0),
            test_dataloader=dict(
                batch_size=1, dataset=dict(data, _delete_=True, ids=list("0123"[: len(sizes)]))
            ),
        )
        for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "val_dataloader"):
            config.pop(key, None)
        config.val_evaluator = config.val_cfg = None
        runner = LandmarkRunner.from_cfg(config)
        runner.test()
        cases = [runner.model.test_step(batch)[0] for batch in runner.test_dataloader]
        assert [case.sample_id for case in cases] == ["0", "1"]
        away = [torch.linalg.norm(case.pred_landmarks - case.gt_landmarks, dim=1) for case in cases]
        return np.array([far.numpy() * spacing for far, (_, spacing) in zip(away, sizes, strict=True)])

    np.testing.assert_allclose(errors(0.5), 0, atol=0.01)
    # Of another spacing than it has, its patterns look larger than those of the images.
    wrong = errors(1.0)
    assert (wrong.max() > 10) == (step["type"] == "ResampleSpacing"), wrong
