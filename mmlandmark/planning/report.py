"""What a person reads before a plan is written: assumptions, decisions, and open questions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from mmlandmark.planning.choice import Choice
from mmlandmark.planning.planner import Plan
from mmlandmark.planning.rules import suggested_pairs
from mmlandmark.structures import grid_unit

_SHOWN = 5


def assumptions(plan: Plan) -> list[str]:
    """Return what the plan takes for granted about the data, one line each."""
    data, choices = plan.fingerprint, plan.choices
    metric, radii = choices["unit"].value, choices["radii"]
    unit = grid_unit(data.dims) if metric["unit"] == "px" else metric["unit"]
    *some, last = (f"{radius:g}" for radius in radii.value)
    within = f"{', '.join(some)} and {last}" if some else last
    lines = [
        _row("unit", f"errors in {unit}: {choices['unit'].why}"),
        _row("radii", f"the test counts landmarks within {within} {unit}: {radii.why}"),
        _row("spacing", _spacing(plan)),
        *([_row("y", choices["y"].why)] if data.dims == 2 else []),
        *([_row("extent", _extent(data.extent))] if data.extent else []),
        _row("values", f"{choices['values'].why}; {choices['channels'].why}"),
        _row("orientation", _orientation(plan)),
        _row("split", _split(plan)),
        _row("mirrors", _mirrors(plan)),
    ]
    if choices["measures"].value:
        lines.append(_row("measures", f"the test compares {', '.join(choices['measures'].value)}"))
    images = plan.unlabelled
    if images is not None:
        lines.append(_row("to label", f"{len(images.ids)} below {images.folder}"))
        lines += [_row("left out", reason) for reason in images.left_out]
    not_checked = [*plan.left_out, *(images.not_checked if images is not None else ())]
    if not_checked:
        lines.append(_row("not checked", "; ".join(dict.fromkeys(not_checked))))
    gaps = {**data.missing, **{f"{name} (absent)": count for name, count in data.absent.items()}}
    if gaps:
        worst = sorted(gaps.items(), key=lambda item: -item[1])[:3]
        shown = ", ".join(f"{name} in {count}" for name, count in worst)
        lines.append(_row("missing", f"{sum(gaps.values())} landmarks, most often {shown}; losses skip them"))
    return lines


def _row(name: str, text: str) -> str:
    return f"  {name:<12} {text}"


def _spacing(plan: Plan) -> str:
    data = plan.fingerprint
    if data.spacing is not None:
        what = "pixel" if data.dims == 2 else "voxel"
        sides = data.spacing[:1] if len(set(data.spacing)) == 1 else data.spacing
        text = f"{' x '.join(f'{mm:g}' for mm in sides)} mm per {what} (median)"
        low, high = data.spacing_range or ([], [])
        if data.dims == 3 and max(b / a for a, b in zip(low, high, strict=True)) > 1.01:
            text += f", from {' x '.join(f'{mm:g}' for mm in low)} to {' x '.join(f'{mm:g}' for mm in high)}"
        return text
    if data.scale_without_unit is not None:
        ends = " to ".join(f"{scale:g}" for scale in dict.fromkeys(data.scale_without_unit))
        return f"SCALE= {ends} (unit unknown)"
    return f"known of {data.spacing_known} of {data.images} images"


def _extent(extent: Sequence[float]) -> str:
    return (
        f"{' x '.join(f'{mm:.4g}' for mm in extent)} mm (left to right, front to back, foot to head; median)"
    )


def _orientation(plan: Plan) -> str:
    stored = plan.fingerprint.orientations
    if set(stored) == {""}:
        return "no volume states its directions, so voxels stay as they are stored; points refer to these"
    if stored:
        shown = ", ".join(f"{count} {letters or 'unknown'}" for letters, count in stored.items())
        which = "all that state their directions" if "" in stored else "all"
        return f"voxels are stored as {shown}; {which} are turned to LPS, points and predictions follow"
    tags = plan.fingerprint.orientation_tags
    text = "points refer to the pixels as they are stored"
    return f"{text}, although {tags} of the images read are turned, as their tags ask" if tags else text


def _split(plan: Plan) -> str:
    counts = ", ".join(f"{len(ids)} {part}" for part, ids in plan.parts.items())
    data = plan.fingerprint
    if data.has_groups:
        who = f"no patient is in two parts ({data.patients} patients)"
    else:
        who = "every image counts as a patient of its own"
    copies = f"; {data.copies} copies of images stay with them" if data.copies else ""
    twice = "; validation and test look at the same images" if len(plan.parts) < 3 else ""
    without = f"{data.empty_images} without a landmark {'is' if data.empty_images == 1 else 'are'}"
    empty = f"; {without} left out" if data.empty_images else ""
    return f"{counts}; {who}{copies}{twice}{empty}"


def _mirrors(plan: Plan) -> str:
    pairs = len(plan.fingerprint.flip_pairs)
    swap = "pair swaps" if pairs == 1 else "pairs swap"
    return (
        f"images are mirrored, {pairs} {swap}" if pairs else "images are not mirrored: no pairs are declared"
    )


def decisions(plan: Plan) -> list[str]:
    """Return the decisions on network and schedule, one line each."""
    choices = plan.choices
    lines = [*_stage(choices), _row("augment", choices["augmentation"].why)]
    if "stages" in choices:
        lines.insert(0, _row("stages", f"{choices['stages'].value}: {choices['stages'].why}"))
    if plan.fine:
        lines += ["  second stage:", *_stage({**choices, **plan.fine})]
    if plan.labels:
        labels = plan.labels
        lines += [
            "  self-training and fine-tuning:",
            _row("images", labels["images"].why),
            _row("learnt from", labels["selector"].why),
            _row("loss", labels["loss"].why),
            _row("rounds", f"{labels['self_train'].value}: {labels['self_train'].why}"),
            _row("epochs", f"{labels['fine_tune'].value} of fine-tuning: {labels['fine_tune'].why}"),
        ]
    return lines


def _stage(choices: Mapping[str, Choice]) -> list[str]:
    """Return the decisions on one training."""
    return [
        _row("input", choices["size"].why),
        _row("network", f"{choices['network'].why}; {choices['start'].why}"),
        *([_row("peaks", f"sigma {choices['sigma'].why}")] if "spacing" in choices else []),
        _row("batch", f"{choices['batch'].value}: {choices['batch'].why}"),
        _row("epochs", f"{choices['epochs'].value}: {choices['epochs'].why}"),
    ]


def questions(plan: Plan) -> list[str]:
    """Return what only the user knows, with the flag that answers it; the plan is valid without."""
    data, answers = plan.fingerprint, plan.answers
    asked = []
    if plan.choices["unit"].value["unit"] == "px":
        if data.scale_without_unit is not None:
            asked.append("In what unit was SCALE= set? --scale-to-mm 1 for mm, 10 for cm: errors in mm")
        else:
            first, last = (shlex.quote(data.landmarks[n]) for n in (0, -1))
            what = "pixel" if data.dims == 2 else "voxel"
            several = len(data.landmarks) > 1
            asked.append(
                f"How large is a {what}{', or a distance between two landmarks' * several}? --spacing "
                f"MM_PER_{what.upper()}{f', or --reference-length {first} {last} MM' * several}: errors in mm"
            )
    if not data.flip_pairs and len(data.landmarks) > 1:
        pairs = suggested_pairs(data.landmarks)
        shown = pairs[:_SHOWN] or [(data.landmarks[0], data.landmarks[1])]
        example = " ".join(shlex.quote(f"{a}:{b}") for a, b in shown) + ("" if pairs else " ...")
        seems = "These names look like pairs. " if pairs else ""
        asked.append(
            f"{seems}Is the anatomy symmetric? --pairs {example}: landmarks that swap in a mirror; training "
            "then sees mirrored images"
        )
    if not data.has_groups and answers.group_pattern is None and not any(data.parts):
        asked.append(
            "Are several images of one patient? --group-pattern 'REGEX' finds the patient at the start of an "
            "image's name, so that no patient is in training and test"
        )
    return asked
