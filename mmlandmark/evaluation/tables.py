"""The table of a method's recorded results, as its README shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmlandmark.evaluation.costs import COLUMNS, cost_cell, costs_note
from mmlandmark.evaluation.metric_names import format_metric, headline_metrics, metric_title
from mmlandmark.evaluation.overlap import Overlap
from mmlandmark.evaluation.record import compare_records
from mmlandmark.utils.table_text import markdown_table

Runs = Sequence[dict[str, Any]]
Column = tuple[str, Callable[[str, Runs], str]]  # title, and the cell of a name and its runs


def results_table(
    groups: Mapping[str, Runs],
    paper: Mapping[str, Any],
    baseline: str | None = None,
    superseded: Runs = (),
    overlaps: Mapping[str, Overlap] | None = None,
    costs: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return the Markdown table of all configs of a method, or of all arms of a sweep.

    Rows that were tested on some of the landmarks of the others only get a table of their own. Notes below
    the table list the machines, the kind of the tested images, and superseded results.

    Args:
        groups: Name of a row -> records of its runs, see :func:`read_records`.
        paper: Name of a row -> metric -> number of a publication, which gets a column of its own.
        baseline: Name of the row that all others are compared with, image by image.
        superseded: Records that others replaced, see :func:`read_superseded`.
        overlaps: Hash of a test set -> its images that were trained on. A column has the mean error over the
            other images.
        costs: Name of a row -> what its detector costs, see :func:`read_costs`; columns have number of
            models, parameters, memory and time.

    Raises:
        ValueError: ``paper`` names a row without results.
    """
    if not groups:
        return "No results are recorded yet."
    unknown = sorted(set(paper) - set(groups))
    if unknown:
        raise ValueError(f"paper.json names {unknown}, but results are recorded for {sorted(groups)} only")
    whole, few = _by_landmarks(groups, baseline)
    records = [record for group in whole.values() for record in group]
    tested = {(record.get("split") or {}).get("hash") for record in records}
    overlap = (overlaps or {}).get(str(tested.pop())) if len(tested) == 1 else None
    known = {name: cost for name, cost in (costs or {}).items() if name in groups}
    notes = _notes(records, overlap) + costs_note(known.values())
    tables = [_table(whole, paper, baseline, overlap, known), notes]
    for names, rows in few.items():
        tables += [f"Of {', '.join(names)} alone:", _table(rows, paper, None, None, known)]
    return "\n\n".join(tables) + _superseded_note(superseded)


def _table(
    groups: Mapping[str, Runs],
    paper: Mapping[str, Any],
    baseline: str | None,
    overlap: Overlap | None,
    costs: Mapping[str, Mapping[str, Any]],
) -> str:
    own = {name: cost for name, cost in costs.items() if name in groups}
    columns = [*_columns(groups, paper, baseline, overlap), *_closing_columns(own)]
    rows = [[cell(name, group) for _, cell in columns] for name, group in groups.items()]
    return markdown_table([title for title, _ in columns], rows)


def _by_landmarks(
    groups: Mapping[str, Runs], baseline: str | None
) -> tuple[dict[str, Runs], dict[tuple[str, ...], dict[str, Runs]]]:
    """Return the rows that can be compared, and by landmarks those that were tested on some of them only.

    The former have the landmarks of the baseline, or else most of all.
    """
    landmarks = {
        name: tuple((group[0].get("landmark_errors") or {}).get("name", ())) for name, group in groups.items()
    }
    most = landmarks.get(baseline or "") or max(landmarks.values(), key=len)
    few: dict[tuple[str, ...], dict[str, Runs]] = {}
    for name, own in landmarks.items():
        if set(own) < set(most) and own:
            few.setdefault(own, {})[name] = groups[name]
    return {n: group for n, group in groups.items() if not any(n in rows for rows in few.values())}, few


def _columns(
    groups: Mapping[str, Runs], paper: Mapping[str, Any], baseline: str | None, overlap: Overlap | None
) -> list[Column]:
    keys = headline_metrics(key for group in groups.values() for record in group for key in record["metrics"])

    def metric(key: str) -> Column:
        return metric_title(key, keys), lambda _, runs: _cell(key, [run["metrics"].get(key) for run in runs])

    columns: list[Column] = [
        ("config", lambda name, _: name),
        ("seeds", lambda _, runs: ", ".join(_seeds(run) for run in runs)),
    ]
    for key in keys:
        columns.append(metric(key))
        if key == "mre" and any("mre_median" in r["metrics"] for group in groups.values() for r in group):
            columns.append(
                ("median", lambda _, runs: _cell("mre", [r["metrics"].get("mre_median") for r in runs]))
            )
    if overlap and any("image_errors" in record for group in groups.values() for record in group):
        columns.append(
            (
                f"MRE of the {overlap.num_others} other images",
                lambda _, runs: _cell("mre", [overlap.mean_of_others(_image_errors(run)) for run in runs]),
            )
        )
    if baseline:
        columns.append(
            (
                f"against {baseline}, p of t / Wilcoxon",
                lambda name, runs: "-" if name == baseline else _difference(runs, groups[baseline]),
            )
        )
    if paper:
        columns.append(("paper", lambda name, _: _paper_cell(paper.get(name, {}), keys)))
    return columns


def _closing_columns(costs: Mapping[str, Mapping[str, Any]]) -> list[Column]:
    """Return the last columns: what a detector costs, if that is known of any, and what was tested."""

    def cost(title: str) -> Column:
        return title, lambda name, _: cost_cell(title, costs.get(name))

    return [
        *(cost(title) for title in COLUMNS if costs),
        ("images", lambda _, runs: str((runs[0].get("split") or {}).get("images", "-"))),
        ("commit", lambda _, runs: ", ".join(dict.fromkeys(_commit(run) for run in runs))),
    ]


def _image_errors(record: dict[str, Any]) -> list[float | None]:
    """Return the mean error of every tested image, nothing where the record keeps none."""
    return (record.get("image_errors") or {}).get("mean") or []


def _notes(records: Runs, overlap: Overlap | None) -> str:
    """Return what stands below the table: machines, images that were trained on, kind of the images."""
    machines = {(r.get("machine") or {}).get("gpu") or (r.get("machine") or {}).get("cpu") for r in records}
    where = ", ".join(sorted(machine for machine in machines if machine)) or "an unnamed machine"
    notes = f"Mean ± standard deviation over the seeds; SDR in percent. Tested on {where}."
    if overlap:
        kept = any("image_errors" in record for record in records)
        notes += f" {len(overlap.positions)} of the {overlap.images} tested images are {overlap.why}; " + (
            "the column of the other images leaves them out."
            if kept
            else "these records keep no errors of single images."
        )
    return notes + _images_note(records)


def _images_note(records: Runs) -> str:
    """Return the kinds of the tested images, as far as they are recorded."""
    known = [record["images"] for record in records if record.get("images")]
    kinds = {
        f"{', '.join(f'{n} {kind}' for kind, n in images['formats'].items())} (digest {images['digest']})"
        for images in known
    }
    if not kinds:
        return ""
    older = f" {len(records) - len(known)} older records do not say." if len(known) < len(records) else ""
    return f" Images: {'; '.join(sorted(kinds))}.{older}"


def _superseded_note(records: Runs) -> str:
    """Return a list of the results that others replaced."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((_run_name(record["path"]), record["superseded_by"]["why"]), []).append(record)
    lines = []
    for (name, why), group in groups.items():
        keys = headline_metrics(key for record in group for key in record["metrics"])
        values = ", ".join(
            f"{metric_title(key, keys)} {_cell(key, [record['metrics'].get(key) for record in group])}"
            for key in keys
        )
        by = ", ".join(dict.fromkeys(_run_name(record["superseded_by"]["record"]) for record in group))
        lines.append(f"- `{name}`: {values}. Superseded by {by}: {why}.")
    return "\n\nStill on record, superseded:\n\n" + "\n".join(lines) if lines else ""


def _seeds(record: dict[str, Any]) -> str:
    """Return the seed of a run, the seeds of an ensemble's members, or a question mark."""
    if record["seed"] is not None:
        return str(record["seed"])
    return ", ".join(str(seed) for seed in record.get("seeds", "?"))


def _commit(record: dict[str, Any]) -> str:
    """Return the first letters of a commit, with ``-dirty`` where files differed from it."""
    commit = record.get("commit") or "-"
    name, *dirty = commit.split("-", 1) if commit != "-" else [commit]
    return "-".join([name[:8], *dirty])


def _cell(key: str, values: list[float | None]) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    text = format_metric(key, *present)
    return text if len(present) == len(values) else f"{text} ({len(present)} of {len(values)} runs)"


def _difference(runs: Runs, baseline: Runs) -> str:
    test = compare_records(runs, baseline)
    return f"{test.difference:+.3f}, {test.t_text} / {test.wilcoxon_p:.2g}"


def _paper_cell(paper: Mapping[str, Any], keys: Sequence[str]) -> str:
    words = [f"{metric_title(key, ())} {paper[key]:g}" for key in keys if key in paper]
    return ", ".join(words) + (f" ({paper['source']})" if words and "source" in paper else "") or "-"


def _run_name(path: str | Path) -> str:
    """Return the name of a record's file without its seed."""
    stem = Path(path).stem
    return stem.rpartition("_seed")[0] or stem
