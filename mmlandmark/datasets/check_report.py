"""The report of a dataset check as Markdown."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

_SHOWN = 20  # findings of a kind in the Markdown; the JSON has all


def to_markdown(report: dict[str, Any], title: str = "Dataset check") -> str:
    """Return what :func:`~mmlandmark.datasets.checks.check_dataset` found as a Markdown page."""
    lines = [f"# {title}", "", f"Schema `{report['schema']}`, {len(report['landmarks'])} landmarks.", ""]
    lines += ["## Splits", ""]
    axes = [a for a in "xyz" if any(a in split["coordinates"] for split in report["splits"].values())]
    header = ["split", "samples", "groups", "missing landmarks", "without any"]
    header += (
        [f"image {a} (px)" for a in axes]
        + [f"landmarks {a} (px)" for a in axes]
        + [f"mm/px {a}" for a in axes]
    )
    rows = [
        [name, s["samples"], s["groups"] or "-", s["missing_landmarks"], s["samples_without_landmarks"]]
        + [_range(s[key][a]) for key in ("image_size", "coordinates", "spacing") for a in axes]
        for name, s in report["splits"].items()
    ]
    lines += _table(header, rows)
    bare = {name: s["without_spacing"] for name, s in report["splits"].items() if s["without_spacing"]}
    if bare:
        counts = ", ".join(f"{count} in {name}" for name, count in bare.items())
        lines += [
            f"Samples without spacing: {counts}. Their errors are in pixels, or need a reference length.",
            "",
        ]
    lines += ["## Findings", "", *_findings(report), "## Landmarks", ""]
    rows = [
        [k, m["name"], m["annotated"], *(_range(m[a]) for a in axes)]
        for k, m in enumerate(report["landmarks"])
    ]
    lines += _table(["index", "name", "annotated", *(f"{a} (px)" for a in axes)], rows)
    return "\n".join(lines)


def one_line(finding: dict[str, Any]) -> str:
    """Return a finding as one sentence: severity, file, sample, what is wrong, what to do."""
    where = [str(finding[key]) for key in ("source", "image") if finding[key]]
    sample = f"sample {finding['sample_id']!r}" if finding["sample_id"] else "all samples"
    place = f"{where[0]}: " if where else ""
    return (
        f"{finding['severity']}: {place}{sample} [{finding['split']}]: {finding['check']}: "
        f"{finding['message']}; {finding['advice']}"
    )


def _findings(report: dict[str, Any]) -> list[str]:
    if not report["findings"]:
        return ["Nothing was found.", ""]
    by_check: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for finding in report["findings"]:
        by_check[finding["check"]].append(finding)
    rows = [
        [check, report["summary"][check], len(found), found[0]["severity"]]
        for check, found in by_check.items()
    ]
    lines = _table(["check", "samples", "findings", "severity"], rows)
    for check, found in by_check.items():
        lines += [f"### {check.capitalize()}", ""]
        for item in found[:_SHOWN]:
            source = f" ({item['source']})" if item["source"] else ""
            lines.append(f"- `{item['sample_id']}` [{item['split']}]{source}: {item['message']}")
        if len(found) > _SHOWN:
            lines.append(f"- and {len(found) - _SHOWN} more, see the JSON file")
        lines.append("")
    return lines


def _range(values: list[float] | None) -> str:
    if values is None:
        return "-"
    low, high = (f"{v:g}" for v in values)
    return low if low == high else f"{low} to {high}"


def _table(header: list[str], rows: list[list[Any]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines] + [""]
