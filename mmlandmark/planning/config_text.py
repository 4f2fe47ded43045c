"""The config of a plan, as a person would write it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mmlandmark.planning.choice import Choice

_WIDTH = 108


def _comment(text: str) -> str:
    return "\n".join(
        textwrap.wrap(text[0].upper() + text[1:] + ".", _WIDTH, initial_indent="# ", subsequent_indent="# ")
    )


def _call(values: Mapping[str, Any]) -> str:
    """Return ``dict(...)`` as source text."""
    return f"dict({', '.join(f'{key}={_literal(value)}' for key, value in values.items())})"


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return _call(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        inner = ", ".join(_literal(entry) for entry in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _wrapped(head: str, values: Mapping[str, Any]) -> str:
    """Return ``head = dict(...)``, one line if it fits, else one argument a line."""
    line = f"{head} = {_call(values)}"
    if len(line) <= _WIDTH:
        return line
    rows = "\n".join(f"    {key}={_literal(value)}," for key, value in values.items())
    return f"{head} = dict(\n{rows}\n)"


def _steps(head: str, steps: Sequence[Mapping[str, Any]], before: str = "") -> str:
    rows = "\n".join(f"    {_call(step)}," for step in steps)
    return f"{head} = [\n{before}{rows}\n]"


def config_text(title: str, choices: Mapping[str, Choice], dataset: Mapping[str, Any]) -> str:
    """Return the text of a config.

    Args:
        title: What is planned, for the first line.
        choices: The decisions, by the names of ``docs/plan.md``.
        dataset: Arguments of the data set, without pipeline and ids.
    """
    why = {name: choice.why for name, choice in choices.items()}
    base = ["default_runtime.py", "models/unet6.py", "schedules/adamw_onecycle.py"]
    parts = [
        _comment(title) + "\n# plan.json beside this file holds the fingerprint of the data and all reasons.",
        "\n".join(["_base_ = [", *(f'    "mmlandmark::_base_/{name}",' for name in base), "]"]),
        'work_dir = "{{ fileDirname }}/run"',
        *_pipelines(choices, why),
        _comment(f"y: {why['y']}; {why['cache']}")
        + "\n"
        + _wrapped("data", dict(dataset, **_cache(choices))),
        *_loaders(choices, why),
        *_training(choices, why),
    ]
    return "\n".join(parts) + "\n"


def loaded_size(size: Sequence[int]) -> tuple[int, ...]:
    """Return the size at which images are loaded and kept: twice the input, so that no detail is lost."""
    return tuple(2 * side for side in size)


def _pipelines(choices: Mapping[str, Choice], why: Mapping[str, str]) -> list[str]:
    size, keep = choices["size"].value, choices["aspect"].value
    fit = dict(keep_aspect=True) if keep else {}
    load = dict(
        type="LoadImage",
        size=loaded_size(size),
        **fit,
        channels=choices["channels"].value,
        **choices["values"].value,
    )
    moves = choices["augmentation"].value
    resample = dict(type="Resample")
    if choices["border"].value != "constant":
        resample["border"] = choices["border"].value
    augmented: list[Mapping[str, Any]] = [dict(type="RandomFlip")] if moves["mirror"] else []
    augmented += [
        dict(type="RandomAffine", **{key: moves[key] for key in ("rotation", "scale", "shift")}),
        resample,
        dict(type="RandomGamma", gamma=(0.7, 1.43)),
        dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.2),
        dict(type="PackInputs"),
    ]
    return [
        _comment(f"size: {why['size']}; {why['aspect']}; {why['channels']}; {why['values']}")
        + "\n"
        + _steps("load", [load, dict(type="Resize", size=tuple(size), **fit)]),
        _comment(f"{why['augmentation']}; {why['border']}")
        + "\n"
        + _steps("augmented", augmented, "    *load,\n"),
        f"plain = [*load, {_call(resample)}, {_call(dict(type='PackInputs'))}]",
    ]


def _cache(choices: Mapping[str, Choice]) -> dict[str, Any]:
    gigabytes = choices["cache"].value
    return {} if gigabytes is None else dict(image_cache=dict(mode="ram", max_gb=gigabytes))


def _loaders(choices: Mapping[str, Choice], why: Mapping[str, str]) -> list[str]:
    batch, workers = choices["batch"].value, choices["workers"].value
    common = f"num_workers={workers}" + (", persistent_workers=True" if workers else "")
    parts = choices["parts"].value
    val, test = ("val" if "val" in parts else "test"), ("test" if "test" in parts else "val")
    evaluation = (
        "{name} = dict(\n    batch_size={batch},\n    {common},\n"
        '    sampler=dict(type="DefaultSampler", shuffle=False),\n'
        '    dataset=dict(data, ids="{{{{ fileDirname }}}}/{part}.txt", pipeline=plain, test_mode=True),\n)'
    )
    same = "val_dataloader" if val == test else ""
    tests = (
        f"test_dataloader = {same}"
        if same
        else "test_dataloader = dict(\n    val_dataloader,\n"
        f'    dataset=dict(data, ids="{{{{ fileDirname }}}}/{test}.txt", pipeline=plain, test_mode=True),\n)'
    )
    metric = choices["unit"].value
    return [
        _comment(f"split: {why['parts']}; batch: {why['batch']}; {why['workers']}"),
        f"train_dataloader = dict(\n    batch_size={batch},\n    {common},\n"
        '    sampler=dict(type="DefaultSampler", shuffle=True),\n'
        '    dataset=dict(data, ids="{{ fileDirname }}/train.txt", pipeline=augmented),\n)',
        evaluation.format(name="val_dataloader", batch=batch, common=common, part=val),
        tests,
        _comment(f"unit: {why['unit']}"),
        _wrapped("val_evaluator", dict(type="LandmarkMetric", **metric)),
        "test_evaluator = val_evaluator",
    ]


def _training(choices: Mapping[str, Choice], why: Mapping[str, str]) -> list[str]:
    network, codec, grey = choices["network"].value, choices["sigma"].value, choices["normalisation"].value
    schedule, epochs = choices["schedule"].value, choices["epochs"].value
    channels = choices["channels"].value
    backbone = dict(
        in_channels=channels, **{key: tuple(v) if isinstance(v, list) else v for key, v in network.items()}
    )
    return [
        _comment(f"network: {why['network']}; sigma: {why['sigma']}; {why['normalisation']}"),
        "model = dict(\n"
        f"    data_preprocessor={_call(dict(grey, channels=channels))},\n"
        f"    backbone={_call(backbone)},\n"
        f"    head=dict(num_landmarks={choices['landmarks'].value}, codec={_call(codec)}),\n)",
        _comment(f"epochs: {why['epochs']}; the last one is kept, none is chosen by its result"),
        f"train_cfg = dict(max_epochs={epochs}, val_interval={schedule['val_interval']})",
        f"optim_wrapper = dict(optimizer=dict(lr={schedule['lr']}))",
        f"param_scheduler = [dict(_base_.one_cycle, eta_max={schedule['lr']})]",
        f"default_hooks = dict(checkpoint=dict(interval={schedule['save']}))",
        "custom_hooks = [_base_.ema]",
    ]
