"""The config of a plan, as a person would write it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mmlandmark.planning.choice import Choice

_WIDTH = 108
# MMEngine replaces what stands in {{ }} anywhere in a config; this is the only one that a plan wants.
_BESIDE = "{{ fileDirname }}/"


def _comment(text: str) -> str:
    text = (text[0].upper() + text[1:] + ".").replace("{{", "{ {")
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "\n".join(textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# "))


def _call(values: Mapping[str, Any]) -> str:
    """Return ``dict(...)`` as source text."""
    return f"dict({', '.join(f'{key}={_literal(value)}' for key, value in values.items())})"


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return _call(value)
    if isinstance(value, str):
        kept = _BESIDE if value.startswith(_BESIDE) else ""
        return f'"{kept}{_escaped(value.removeprefix(kept))}"'
    if isinstance(value, list | tuple):
        inner = ", ".join(_literal(entry) for entry in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _escaped(text: str) -> str:
    """Return a text as it stands between double quotes, whatever letters it has."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1].replace("{{", r"{\x7b")
    # Bytes of a file name that are no UTF-8.
    return re.sub("[\ud800-\udfff]", lambda lone: rf"\u{ord(lone[0]):04x}", quoted)


def _wrapped(head: str, values: Mapping[str, Any], indent: str = "") -> str:
    """Return ``head = dict(...)``, one line if it fits, else one argument a line."""
    between = "=" if indent else " = "
    line = f"{indent}{head}{between}{_call(values)}"
    if len(line) <= _WIDTH:
        return line
    inner = indent + "    "
    rows = [
        _wrapped(key, value, inner) if isinstance(value, Mapping) else f"{inner}{key}={_literal(value)}"
        for key, value in values.items()
    ]
    return "\n".join([f"{indent}{head}{between}dict(", *(f"{row}," for row in rows), f"{indent})"])


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
        _comment(f"{title}; all reasons are in plan.json"),
        "\n".join(["_base_ = [", *(f'    "mmlandmark::_base_/{name}",' for name in base), "]"]),
        f'work_dir = "{_BESIDE}run"',
        *_pipelines(choices, why),
        _comment(f"y: {why['y']}") + "\n" + _wrapped("data", dict(dataset, **_cache(choices))),
        *_loaders(choices, why),
        *_training(choices, why),
    ]
    return "\n".join(parts) + "\n"


def _pipelines(choices: Mapping[str, Choice], why: Mapping[str, str]) -> list[str]:
    size, keep = choices["size"].value, choices["aspect"].value
    fit = dict(keep_aspect=True) if keep else {}
    load = dict(
        type="LoadImage",
        size=tuple(choices["loaded"].value),
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
        _comment(
            "; ".join(
                [f"size: {why['size']}", why["aspect"], *([why["values"]] if choices["values"].value else [])]
            )
        )
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
    workers = choices["workers"].value
    common = dict(batch_size=choices["batch"].value, num_workers=workers)
    if workers:
        common["persistent_workers"] = True
    parts = choices["parts"].value
    val, test = ("val" if "val" in parts else "test"), ("test" if "test" in parts else "val")

    def ids(part: str) -> str:
        return f'ids="{_BESIDE}{part}.txt"'

    return [
        _comment(f"split: {why['parts']}; batch: {why['batch']}"),
        _wrapped("loader", common),
        'train_dataloader = dict(\n    loader,\n    sampler=dict(type="DefaultSampler", shuffle=True),\n'
        f"    dataset=dict(data, {ids('train')}, pipeline=augmented),\n)",
        'loader = dict(loader, sampler=dict(type="DefaultSampler", shuffle=False))',
        "tested = dict(data, pipeline=plain, test_mode=True)",
        f"val_dataloader = dict(loader, dataset=dict(tested, {ids(val)}))",
        f"test_dataloader = dict(loader, dataset=dict(tested, {ids(test)}))",
        _comment(f"unit: {why['unit']}"),
        _wrapped("val_evaluator", dict(type="LandmarkMetric", **choices["unit"].value)),
        'test_evaluator = [val_evaluator, dict(type="MeasureMetric")]'
        if choices["measures"].value
        else "test_evaluator = val_evaluator",
    ]


def _training(choices: Mapping[str, Choice], why: Mapping[str, str]) -> list[str]:
    channels, published = choices["channels"].value, choices["start"].value
    schedule, epochs = choices["schedule"].value, choices["epochs"].value
    backbone = dict(choices["network"].value, in_channels=channels)
    model: dict[str, Any] = dict(data_preprocessor=dict(choices["normalisation"].value, channels=channels))
    model["backbone"] = dict(_delete_=True, **backbone) if published else backbone
    if published:
        norm = dict(type="BN")
        model["neck"] = dict(type="UNetDecoder", conv_bias="auto", norm_cfg=norm, align_corners=False)
    model["head"] = dict(num_landmarks=choices["landmarks"].value, codec=choices["sigma"].value)
    optimizer: dict[str, Any] = dict(optimizer=dict(lr=schedule["lr"]))
    if published:  # depth-wise convolutions gain no time from bfloat16
        optimizer["dtype"] = "float32"
    words = f"network: {why['network']}; {why['start']}; sigma: {why['sigma']}"
    return [
        _comment(words) + "\n" + _wrapped("model", model),
        _comment(f"epochs: {why['epochs']}"),
        f"train_cfg = dict(max_epochs={epochs}, val_interval={schedule['val_interval']})",
        _wrapped("optim_wrapper", optimizer),
        f"param_scheduler = [dict(_base_.one_cycle, eta_max={schedule['lr']})]",
        f"default_hooks = dict(checkpoint=dict(interval={schedule['save']}))",
        "custom_hooks = [_base_.ema]",
    ]
