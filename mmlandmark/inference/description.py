"""A model file in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmlandmark.models.model_file import ModelFile


def describe_model(model: ModelFile) -> str:
    """Return what a model file holds, one line per fact; letters that control a terminal are replaced."""
    lines = {
        "name": model.name,
        "landmarks": f"{len(model.schema)} in {model.schema.dims}D, {model.schema.name}",
        "input": _input(model),
        "network": _network(model),
        "trained": _readable(_training, model.training),
        **{f"measured, {name}": _readable(_result, result) for name, result in model.measured.items()},
        "calibration": "yes" if model.calibration else "none",
        "test": _test(model.config),
        "licence": model.licence or "none stated",
    }
    width = min(max(map(len, lines)), 40)
    text = "\n".join(f"{key:<{width}}  {_indented(value, width + 2)}" for key, value in lines.items())
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _readable(describe: Callable[[Any], str], facts: Any) -> str:
    """Return a description of facts that may be of any form, since nobody checks what a file tells."""
    try:
        return describe(facts)
    except (AttributeError, KeyError, TypeError, ValueError):
        return str(facts)[:200]


def _indented(text: str, width: int) -> str:
    return f"\n{' ' * width}".join(text.splitlines())


def _input(model: ModelFile) -> str:
    sizes = [step["size"] for step in model.config["pipeline"] if step.get("size")]
    size = " x ".join(map(str, sizes[-1])) if sizes else "any size"
    given = model.config["model"].get("data_preprocessor") or {}
    norm = "".join(f", {key} {_numbers(given[key])}" for key in ("mean", "std") if key in given)
    return f"{size}{norm}"


def _network(model: ModelFile) -> str:
    config = model.config["model"]
    parts = [config[key]["type"] for key in ("backbone", "neck", "head") if config.get(key)]
    count = sum(value.numel() for value in model.state_dict.values() if value.is_floating_point())
    return f"{': '.join([config['type'], ', '.join(parts)][: 1 + bool(parts)])}; {count:,} weights"


def _training(facts: dict[str, Any]) -> str:
    data, known = facts.get("trained_on") or {}, []
    if facts.get("config"):
        known.append(f"config {facts['config']} ({facts.get('config_hash', 'without a hash')})")
    known += [f"{key} {facts[key]}" for key in ("seed", "epoch") if key in facts]
    if "images" in data:
        known.append(f"{data['images']} images of {', '.join(facts.get('data') or ['unknown data'])}")
    return ", ".join(known) or "unknown"


def _result(result: Any) -> str:
    """Return the numbers of a test in one line; a result of another kind as it is."""
    if not isinstance(result, dict):
        return str(result)
    unit, data = result.get("unit", ""), result.get("data", "")
    if "largest_difference" in result:
        return f"largest difference {result['largest_difference']} {unit}, {data}"
    if "coverage" in result:
        parts = [
            f"{_short(100 * part)} % within the {_short(100 * float(level))} % radius"
            for level, part in result["coverage"].items()
        ]
        return f"{result['images']} images: {', '.join(parts)}"
    if "mre" not in result:
        return ", ".join(f"{key} {value}" for key, value in result.items())
    errors = ", ".join(f"{key} {_short(result.get(key))}" for key in ("mre", "median"))
    rates = ", ".join(f"{radius} {unit} {_short(rate)} %" for radius, rate in result.get("sdr", {}).items())
    return f"{data}, {result.get('images')} images: {errors} {unit}; within {rates}"


def _numbers(values: Any) -> str:
    return ", ".join(map(_short, values)) if isinstance(values, list) else _short(values)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)


def _test(config: dict[str, Any]) -> str:
    if not (config.get("test_dataloader") and config.get("test_evaluator")):
        return "not in the file"
    dataset = config["test_dataloader"]["dataset"]
    return f"{dataset.get('type')} in {dataset.get('data_root') or 'the current folder'}"
