"""The config of a plan, as a person would write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmlandmark.planning.choice import Choice
from mmlandmark.planning.source_text import BESIDE, WIDTH, call, comment, literal, step_list, wrapped
from mmlandmark.planning.spacing_rules import MULTIPLE
from mmlandmark.utils.result_folders import CACHE, RUN

# By how much the pose that follows from coarse landmarks may err, in degrees and relative size.
_COARSE_POSE = dict(type="RandomAffine", rotation=10, scale=0.1)
UNLABELLED = "unlabelled.txt"  # ids of the images to label


def config_text(
    title: str,
    choices: Mapping[str, Choice],
    dataset: Mapping[str, Any],
    fine: Mapping[str, Choice] | None = None,
    labels: Mapping[str, Choice] | None = None,
) -> str:
    """Return the text of a config.

    Args:
        title: What is planned, for the first line.
        choices: The decisions, by the names of ``docs/plan.md``.
        dataset: Arguments of the data set, without pipeline and ids.
        fine: Those that differ in a second stage, which looks at patches; empty if there is no such stage.
        labels: Those on self-training and fine-tuning; empty without.
    """
    why = {name: choice.why for name, choice in choices.items()}
    model = "unet6.py" if len(choices["size"].value) == 2 else "unet_volumes.py"
    base = ["default_runtime.py", f"models/{model}", "schedules/adamw_onecycle.py"]
    base += ["self_training.py"] if labels else []
    axes = "axes" if "spacing" in choices else "y"
    parts = [
        comment(f"{title}; all reasons are in plan.json"),
        "\n".join(["_base_ = [", *(f'    "mmlandmark::_base_/{name}",' for name in base), "]"]),
        f'work_dir = "{BESIDE}{RUN}"',
        *pipelines(choices),
        comment(f"{axes}: {why['y']}") + "\n" + wrapped("data", dict(dataset, **cache_of(choices))),
        *_loaders(choices, why),
        *_training(choices, why, bool(fine)),
    ]
    if fine:
        parts += _fine_stage(choices, {**choices, **fine})
    if labels:
        parts += _self_training(labels, choices["schedule"].value["lr"])
    return "\n".join(parts) + "\n"


def _load_steps(choices: Mapping[str, Choice]) -> list[Mapping[str, Any]]:
    """Return the steps until the frame of the network's input."""
    fit = dict(keep_aspect=True) if choices["aspect"].value else {}
    load: dict[str, Any] = dict(type="LoadImage")
    if choices["loaded"].value is not None:
        load["size"] = tuple(choices["loaded"].value)
    load.update(fit, channels=choices["channels"].value, **choices["values"].value)
    steps: list[Mapping[str, Any]] = [load]
    if choices["contrast"].value is not None:
        steps.append(dict(type="NormalizeIntensity", **choices["contrast"].value))
    if "spacing" not in choices:
        return [*steps, dict(type="Resize", size=tuple(choices["size"].value), **fit)]
    load["file_spacing"] = True
    spacing = tuple(choices["spacing"].value)
    return [*steps, dict(type="ResampleSpacing", spacing=spacing[0] if len(set(spacing)) == 1 else spacing)]


def _augmented_steps(choices: Mapping[str, Choice]) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
    """Return the steps of training behind those that load, and the one that reads the pixels."""
    moves = choices["augmentation"].value
    resample: dict[str, Any] = dict(type="Resample")
    if choices["border"].value != "constant":
        resample["border"] = choices["border"].value
    steps: list[Mapping[str, Any]] = [dict(type="RandomFlip")] if moves["mirror"] else []
    if _aligned(choices):
        steps += [dict(type="AlignToTypicalShape", **choices["align"].value), dict(_COARSE_POSE)]
    else:
        steps.append(dict(type="RandomAffine", **{key: moves[key] for key in ("rotation", "scale", "shift")}))
    if "patch" in choices:
        steps.append(dict(type="RandomPatch", size=tuple(choices["patch"].value)))
    steps += [
        resample,
        dict(type="RandomGamma", gamma=(0.7, 1.43)),
        dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.2),
        dict(type="PackInputs"),
    ]
    return steps, resample


def _aligned(choices: Mapping[str, Choice]) -> bool:
    """Return whether a stage sees patches in the pose of a typical shape."""
    return "align" in choices and choices["align"].value is not None


def pipelines(choices: Mapping[str, Choice], prefix: str = "") -> list[str]:
    """Return the pipelines; the names of those of a second stage have a prefix."""
    why = {name: choice.why for name, choice in choices.items()}
    load = f"{prefix}load"
    grey = choices["values"].value or choices["contrast"].value
    augmented, resample = _augmented_steps(choices)
    reasons = [f"size: {why['size']}", why["aspect"], *([why["values"]] if grey else [])]
    steps = step_list(load, _load_steps(choices))
    plain = f"{prefix}plain = [*{load}, {call(resample)}, {call(dict(type='PackInputs'))}]"
    if prefix:
        head = comment(f"second stage: {why['size']}; {why['align']}")
        return [head + "\n" + steps, step_list(f"{prefix}augmented", augmented, f"    *{load},\n"), plain]
    return [
        comment("; ".join(reasons)) + "\n" + steps,
        comment(f"{why['augmentation']}; {why['border']}")
        + "\n"
        + step_list("augmented", augmented, f"    *{load},\n"),
        plain,
    ]


def cache_of(choices: Mapping[str, Choice]) -> dict[str, Any]:
    """Return the arguments of a data set about its cache."""
    gigabytes = choices["cache"].value
    if gigabytes == "disk":
        return dict(image_cache=dict(mode="disk", folder=f"{BESIDE}{CACHE}"))
    return {} if gigabytes is None else dict(image_cache=dict(mode="ram", max_gb=gigabytes))


def _loaders(choices: Mapping[str, Choice], why: Mapping[str, str]) -> list[str]:
    workers = choices["workers"].value
    common = dict(batch_size=choices["batch"].value, num_workers=workers)
    if workers:
        common["persistent_workers"] = True
    parts = choices["parts"].value
    val, test = ("val" if "val" in parts else "test"), ("test" if "test" in parts else "val")

    def ids(part: str) -> str:
        return f'ids="{BESIDE}{part}.txt"'

    return [
        comment(f"split: {why['parts']}; batch: {why['batch']}"),
        wrapped("loader", common),
        'train_dataloader = dict(\n    loader,\n    sampler=dict(type="DefaultSampler", shuffle=True),\n'
        f"    dataset=dict(data, {ids('train')}, pipeline=augmented),\n)",
        'loader = dict(loader, sampler=dict(type="DefaultSampler", shuffle=False))',
        "tested = dict(data, pipeline=plain, test_mode=True)",
        f"val_dataloader = dict(loader, dataset=dict(tested, {ids(val)}))",
        f"test_dataloader = dict(loader, dataset=dict(tested, {ids(test)}))",
        comment(f"unit: {why['unit']}"),
        wrapped("val_evaluator", dict(type="LandmarkMetric", **choices["unit"].value)),
        'test_evaluator = [val_evaluator, dict(type="MeasureMetric")]'
        if choices["measures"].value
        else "test_evaluator = val_evaluator",
    ]


def _parts(choices: Mapping[str, Choice]) -> dict[str, dict[str, Any]]:
    """Return what the parts of a detector have beyond the shipped base."""
    channels = choices["channels"].value
    pixels = dict(choices["normalisation"].value, channels=channels)
    if "spacing" in choices and "patch" not in choices:
        pixels["size_divisor"] = MULTIPLE
    return dict(
        data_preprocessor=pixels,
        backbone=dict(choices["network"].value, in_channels=channels),
        head=dict(num_landmarks=choices["landmarks"].value, codec=choices["sigma"].value),
    )


def _training(choices: Mapping[str, Choice], why: Mapping[str, str], staged: bool) -> list[str]:
    published, schedule = choices["start"].value, choices["schedule"].value
    model: dict[str, Any] = _parts(choices)
    if published:
        model["backbone"] = dict(_delete_=True, **model["backbone"])
        norm = dict(type="BN")
        model["neck"] = dict(type="UNetDecoder", conv_bias="auto", norm_cfg=norm, align_corners=False)
    optimizer: dict[str, Any] = dict(optimizer=dict(lr=schedule["lr"]))
    if published:  # depth-wise convolutions gain no time from bfloat16
        optimizer["dtype"] = "float32"
    words = f"network: {why['network']}; {why['start']}; sigma: {why['sigma']}"
    network = f"{_detector('coarse', choices)}\nmodel = coarse" if staged else wrapped("model", model)
    return [
        comment(words) + "\n" + network,
        comment(f"epochs: {why['epochs']}"),
        wrapped("train_cfg", _epochs(choices)),
        wrapped("optim_wrapper", optimizer),
        f"param_scheduler = [dict(_base_.one_cycle, eta_max={schedule['lr']})]",
        f"default_hooks = dict(checkpoint=dict(interval={schedule['save']}))",
        "custom_hooks = [_base_.ema]",
    ]


def _epochs(choices: Mapping[str, Choice]) -> dict[str, int]:
    return dict(max_epochs=choices["epochs"].value, val_interval=choices["schedule"].value["val_interval"])


def _detector(name: str, choices: Mapping[str, Choice]) -> str:
    """Return a whole detector as source text: the shipped base and what the plan changes."""
    parts = _parts(choices)
    codec = parts["head"].pop("codec")

    def over(base: str, values: Mapping[str, Any]) -> list[str]:
        return [f"_base_.model.{base}", *(f"{key}={literal(value)}" for key, value in values.items())]

    codec_text = f"codec=dict({', '.join(over('head.codec', codec))})"
    rows = []
    for part, values in parts.items():
        words = [*over(part, values), *([codec_text] if part == "head" else [])]
        line = f"    {part}=dict({', '.join(words)}),"
        if len(line) > WIDTH:
            line = "\n".join([f"    {part}=dict(", *(f"        {word}," for word in words), "    ),"])
        rows.append(line)
    return "\n".join([f"{name} = dict(", "    _base_.model,", *rows, ")"])


def _fine_stage(coarse: Mapping[str, Choice], fine: Mapping[str, Choice]) -> list[str]:
    """Return the second stage: patches about the places that the first one finds."""
    detector: dict[str, Any] = dict(patch_size=tuple(fine["patch"].value), shrink=tuple(fine["shrink"].value))
    hooks = []
    if _aligned(fine):
        detector["align"] = dict(pixel=fine["align"].value["pixel"])
        hooks = ['        custom_hooks=[dict(type="ShapePriorHook"), _base_.ema],']
    cache = cache_of(fine) if fine["cache"].value != coarse["cache"].value else {}
    trained = call(dict(dataset=dict(cache))).removeprefix("dict(dataset=dict(").removesuffix("))")
    more = f", {trained}" if trained else ""
    schedule = fine["schedule"].value
    return [
        *pipelines(fine, "fine_"),
        comment(f"stages: {coarse['stages'].why}; {fine['network'].why}; sigma: {fine['sigma'].why}")
        + "\n"
        + _detector("fine", fine),
        comment(f"epochs of the second stage: {fine['epochs'].why}"),
        "stages = [",
        '    dict(name="coarse"),',
        "    dict(",
        '        name="fine",',
        "        model=dict(",
        "            _delete_=True,",
        '            type="CoarseToFineDetector",',
        '            coarse=dict(coarse, init_cfg=dict(type="Pretrained", checkpoint="run:coarse:last")),',
        "            fine=fine,",
        *(f"            {key}={literal(value)}," for key, value in detector.items()),
        "        ),",
        f"        train_dataloader=dict(dataset=dict(pipeline=fine_augmented{more})),",
        f"        val_dataloader=dict(dataset=dict(pipeline=fine_plain{more})),",
        f"        test_dataloader=dict(dataset=dict(pipeline=fine_plain{more})),",
        f"        train_cfg={call(_epochs(fine))},",
        *hooks,
        f"        default_hooks=dict(checkpoint=dict(interval={schedule['save']})),",
        "    ),",
        "]",
    ]


def _self_training(labels: Mapping[str, Choice], rate: float) -> list[str]:
    """Return the three stages of self-training; ``rate`` is that of the first."""
    cache = cache_of(labels) or dict(image_cache=None)  # else it would be that of the annotated images
    images = dict(labels["images"].value, ids=f"{BESIDE}{UNLABELLED}", **cache)
    hook = dict(type="PseudoLabelHook", selector=labels["selector"].value)
    saved = {stage: labels[f"{stage}_schedule"].value["save"] for stage in ("self_train", "fine_tune")}
    epochs = {
        stage: _epochs(dict(epochs=labels[stage], schedule=labels[f"{stage}_schedule"])) for stage in saved
    }
    slow = [
        "        model=dict(head=_base_.mean),",
        f"        optim_wrapper=dict(optimizer=dict(lr={rate / 2:g})),",
        f"        param_scheduler=[dict(_base_.one_cycle, eta_max={rate / 2:g})],",
    ]
    same_loss = slow if labels["loss"].value == "same" else []
    return [
        comment(labels["images"].why) + "\n" + wrapped("unlabelled", images),
        comment(f"labels: {labels['selector'].why}") + "\n" + wrapped("labels", hook),
        comment(
            f"loss: {labels['loss'].why}; epochs of self-training: {labels['self_train'].why}; "
            f"of fine-tuning: {labels['fine_tune'].why}"
        ),
        "stages = [",
        "    _base_.pre_train,",
        "    dict(",
        "        _base_.self_train,",
        *same_loss,
        "        train_dataloader=dict(_base_.self_train.train_dataloader, unlabelled=unlabelled),",
        f"        default_hooks=dict(checkpoint=dict(interval={saved['self_train']}), pseudo_labels=labels),",
        f"        train_cfg={call(epochs['self_train'])},",
        "    ),",
        "    dict(",
        "        _base_.fine_tune,",
        *same_loss,
        f"        default_hooks=dict(checkpoint=dict(interval={saved['fine_tune']})),",
        f"        train_cfg={call(epochs['fine_tune'])},",
        "    ),",
        "]",
    ]
