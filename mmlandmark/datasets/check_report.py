"""The report of a dataset check, as Markdown and as one HTML file."""

from __future__ import annotations

import base64
import html
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmlandmark.datasets.check_kinds import KINDS, SEVERITIES
from mmlandmark.structures import grid_unit
from mmlandmark.utils.table_text import markdown_code, markdown_table, markdown_text

_SHOWN = 20  # findings of a kind in the report; the JSON has all

Pictures = Mapping[tuple[str, str], str]


def to_markdown(
    report: dict[str, Any],
    title: str = "Dataset check",
    pictures: Pictures | None = None,
    sheets: Mapping[str, str] | None = None,
) -> str:
    """Return the report of :func:`~mmlandmark.datasets.checks.check_dataset` as a Markdown page.

    Args:
        report: The report.
        title: Heading of the page.
        pictures: Path of a picture by (split, sample id), relative to the page.
        sheets: Path of a contact sheet by split: a few of its images with their points.
    """
    lines = [f"# {markdown_text(title)}", "", f"**{markdown_text(verdict(report))}**", ""]
    lines += [_NEXT, ""] if report["findings"] else []
    rows = [[f["severity"], f["check"], f["samples"], f["meaning"], f["advice"]] for f in summarised(report)]
    if rows:
        lines += _table(["severity", "finding", "samples", "what it means", "what to do"], rows)
    if report.get("left_out"):
        lines += ["Skipped: " + markdown_text("; ".join(report["left_out"])) + ".", ""]
    if sheets:
        lines += ["## Samples", "", _LOOK, ""]
        lines += [f"![points of {markdown_text(split)}]({path})\n" for split, path in sheets.items()]
    lines += ["## Findings", "", *_findings(report, pictures or {}), "## Splits", "", *_splits(report)]
    return "\n".join([*lines, "## Landmarks", "", *_table(*_landmark_rows(report))])


_NEXT = (
    "Errors make training or evaluation wrong: correct them first. Warnings are worth a look; rules are "
    "learned from the data, so unusual anatomy causes some of them. Notes are good to know."
)
_LOOK = (
    "Are the points on the anatomy? If they are upside down or beside it, y may count from the bottom, x and "
    "y may be exchanged, or the images may have been resized after they were annotated."
)


def verdict(report: dict[str, Any]) -> str:
    """Return the result in one sentence."""
    samples = ", ".join(f"{split['samples']} in {name}" for name, split in report["splits"].items())
    looked = f"{samples}; schema {report['schema']}, {len(report['landmarks'])} landmarks"
    counts = [
        f"{count} {severity}{'s' if count != 1 else ''}"
        for severity, count in report["severities"].items()
        if count
    ]
    return f"{', '.join(counts) or 'Nothing was found'} ({looked})."


def summarised(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row for every kind of finding and severity, worst first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for finding in report["findings"]:
        groups[finding["severity"], finding["check"]].append(finding)
    return [
        dict(
            severity=severity,
            check=check,
            samples=len({(f["split"], f["sample_id"]) for f in findings if f["sample_id"]}) or "all",
            meaning=KINDS[check].meaning,
            advice=findings[0]["advice"],
            findings=findings,
        )
        for (severity, check), findings in sorted(groups.items(), key=lambda g: SEVERITIES.index(g[0][0]))
    ]


def one_line(finding: dict[str, Any]) -> str:
    """Return a finding as one line: severity, file, sample, message and advice."""
    where = [str(finding[key]) for key in ("source", "image") if finding[key]]
    sample = f"sample {finding['sample_id']!r}" if finding["sample_id"] else "all samples"
    place = f"{where[0]}: " if where else ""
    return (
        f"{finding['severity']}: {place}{sample} [{finding['split']}]: {finding['check']}: "
        f"{finding['message']}; {finding['advice']}"
    )


def _findings(report: dict[str, Any], pictures: Pictures) -> list[str]:
    if not report["findings"]:
        return ["Nothing was found.", ""]
    lines = []
    for row in summarised(report):
        findings = row["findings"]
        lines += [f"### {row['check'].capitalize()}", ""]
        lines += [f"{row['severity'].capitalize()}. {row['meaning']} What to do: {row['advice']}.", ""]
        for item in findings[:_SHOWN]:
            source = f" ({markdown_text(item['source'])})" if item["source"] else ""
            sample = markdown_code(item["sample_id"]) if item["sample_id"] else "all samples"
            lines.append(
                f"- {sample} [{markdown_text(item['split'])}]{source}: {markdown_text(item['message'])}"
            )
        if len(findings) > _SHOWN:
            lines.append(f"- and {len(findings) - _SHOWN} more, see the JSON file")
        shown = dict.fromkeys(
            pictures[item["split"], item["sample_id"]]
            for item in findings
            if (item["split"], item["sample_id"]) in pictures
        )
        lines += ["", *(f'<img src="{html.escape(path)}" width="300">' for path in shown), ""]
    return lines


def _splits(report: dict[str, Any]) -> list[str]:
    lines = _table(*_split_rows(report))
    bare = {name: s["without_spacing"] for name, s in report["splits"].items() if s["without_spacing"]}
    if bare:
        what = "pixels" if len(_axes(report)) == 2 else "voxels"
        counts = markdown_text(", ".join(f"{count} in {name}" for name, count in bare.items()))
        lines += [
            f"Samples without spacing: {counts}. Errors are in {what}, unless a reference length is set "
            "or `LoadImage(file_spacing=True)` reads the spacing from the file.",
            "",
        ]
    return lines


def _axes(report: dict[str, Any]) -> list[str]:
    return [a for a in "xyz" if any(a in split["coordinates"] for split in report["splits"].values())]


def _split_rows(report: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    axes = _axes(report)
    header = ["split", "samples", "groups", "missing landmarks", "without any"]
    unit = grid_unit(len(axes))
    step = unit.removesuffix("s")
    for what in (f"image {{}} ({unit})", f"landmarks {{}} ({unit})", f"mm/{step} {{}}"):
        header += [what.format(axis) for axis in axes]
    rows = [
        [name, s["samples"], s["groups"] or "-", s["missing_landmarks"], s["samples_without_landmarks"]]
        + [_range(s[key][a]) for key in ("image_size", "coordinates", "spacing") for a in axes]
        for name, s in report["splits"].items()
    ]
    return header, rows


def _landmark_rows(report: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    axes = _axes(report)
    rows = [
        [k, m["name"], m["annotated"], *(_range(m[a]) for a in axes)]
        for k, m in enumerate(report["landmarks"])
    ]
    return ["index", "name", "annotated", *(f"{a} ({grid_unit(len(axes))})" for a in axes)], rows


def _range(values: list[float] | None) -> str:
    if values is None:
        return "-"
    low, high = (f"{v:g}" for v in values)
    return low if low == high else f"{low} to {high}"


def _table(header: list[str], rows: list[list[Any]]) -> list[str]:
    head, *cells = [[markdown_text(cell) for cell in row] for row in (header, *rows)]
    return [markdown_table(head, cells, left=len(head)), ""]


# ---- HTML -------------------------------------------------------------------------------------------


def to_html(
    report: dict[str, Any],
    title: str = "Dataset check",
    pictures: Pictures | None = None,
    sheets: Mapping[str, str] | None = None,
    folder: str | Path = ".",
) -> str:
    """Return the report as one HTML file with embedded pictures.

    Args:
        report: The report.
        title: Heading of the page.
        pictures: As in :func:`to_markdown`.
        sheets: As in :func:`to_markdown`.
        folder: Folder that the paths of the pictures are relative to.
    """
    folder, text = Path(folder), html.escape
    body = [f"<h1>{text(title)}</h1><p class=verdict>{text(verdict(report))}</p>"]
    if report["findings"]:
        body.append(f"<p>{text(_NEXT)}</p>")
        rows = [
            [f["severity"], f["check"], f["samples"], f["meaning"], f["advice"]] for f in summarised(report)
        ]
        body.append(_html_table(["severity", "finding", "samples", "what it means", "what to do"], rows))
    if report.get("left_out"):
        body.append(f"<p>Skipped: {text('; '.join(report['left_out']))}.</p>")
    if sheets:
        body.append(f"<h2>Samples</h2><p>{text(_LOOK)}</p>")
        body += [f"<h3>{text(split)}</h3>{_image(folder / path)}" for split, path in sheets.items()]
    body.append("<h2>Findings</h2>" + ("" if report["findings"] else "<p>Nothing was found.</p>"))
    body += [_html_kind(row, pictures or {}, folder) for row in summarised(report)]
    body.append("<h2>Splits</h2>" + _html_table(*_split_rows(report)))
    body.append("<h2>Landmarks</h2>" + _html_table(*_landmark_rows(report)))
    return f"<!doctype html><meta charset=utf-8><title>{text(title)}</title>{_STYLE}{''.join(body)}\n"


_STYLE = """<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { border: 1px solid #ccc; padding: .3em .6em; text-align: left }
.verdict { font-size: 1.2em; font-weight: bold } img { max-width: 100%; margin: .3em }
.error { color: #a40000; font-weight: bold } .warning { color: #9a6700; font-weight: bold }
.note { color: #555 }
</style>"""


def _html_kind(row: dict[str, Any], pictures: Pictures, folder: Path) -> str:
    text, findings = html.escape, row["findings"]
    head = f"<h3>{text(row['check'].capitalize())}</h3>"
    head += f"<p><span class={row['severity']}>{row['severity']}</span>: "
    head += f"{text(row['meaning'])} What to do: {text(row['advice'])}.</p>"
    shown = dict.fromkeys(
        pictures[f["split"], f["sample_id"]] for f in findings if (f["split"], f["sample_id"]) in pictures
    )
    items = []
    for f in findings[:_SHOWN]:
        sample = f"<code>{text(f['sample_id'])}</code>" if f["sample_id"] else "all samples"
        source = f" ({text(f['source'])})" if f["source"] else ""
        items.append(f"<li>{sample} [{text(f['split'])}]{source}: {text(f['message'])}</li>")
    if len(findings) > _SHOWN:
        items.append(f"<li>and {len(findings) - _SHOWN} more, see the JSON file</li>")
    return head + "".join(_image(folder / path, 300) for path in shown) + f"<ul>{''.join(items)}</ul>"


def _html_table(header: list[str], rows: list[list[Any]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>"]
    for row in rows:
        cells = (
            f"<td{f' class={cell}' if cell in SEVERITIES else ''}>{html.escape(str(cell))}</td>"
            for cell in row
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _image(path: Path, width: int | None = None) -> str:
    # As JPEG: as PNG, radiographs are ten times as large, and reports are sent by mail.
    picture: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    size = f" width={width}" if width else ""
    return f'<img{size} src="data:image/jpeg;base64,{data}">'
