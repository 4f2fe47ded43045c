"""The table of a method's recorded results, as its README shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmlandmark.evaluation.metric_names import format_metric, headline_metrics, metric_title
from mmlandmark.evaluation.record import compare_records


def results_table(
    groups: dict[str, list[dict[str, Any]]],
    paper: dict[str, Any],
    baseline: str | None = None,
    superseded: Sequence[dict[str, Any]] = (),
    overlaps: Mapping[str, dict[str, Any]] | None = None,
) -> str:
    """Return the Markdown table of all configs of a method, or of all arms of a sweep.

    With a baseline every other row says how it differs, image by image (see ``mmlandmark compare``).
    Below the table stand the machines, what the tested images are, and the results that others took the
    place of (see :func:`read_superseded`). Where ``overlaps``, by the hash of a test set, says at which
    ``positions`` of its sorted ids it has images that were trained on, a column has the mean over the others.
    """
    if not groups:
        return "No results are recorded yet."
    unknown = sorted(set(paper) - set(groups))
    if unknown:
        raise ValueError(f"paper.json names {unknown}, but results are recorded for {sorted(groups)} only")
    keys = headline_metrics(key for group in groups.values() for record in group for key in record["metrics"])
    tested = {(record.get("split") or {}).get("hash") for group in groups.values() for record in group}
    overlap = (overlaps or {}).get(str(tested.pop()), {}) if len(tested) == 1 else {}
    kept = bool(overlap) and any("image_errors" in record for group in groups.values() for record in group)
    others = overlap["images"] - len(overlap["positions"]) if overlap else 0
    rows = [
        [
            "config",
            "seeds",
            *(metric_title(key, keys) for key in keys),
            *([f"MRE of the {others} other images"] if kept else []),
            *([f"against {baseline}, p of t / Wilcoxon"] if baseline else []),
            *(["paper"] if paper else []),
            "images",
            "commit",
        ]
    ]
    for name, group in groups.items():
        row = [name, ", ".join(_seeds(record) for record in group)]
        row += [_cell(key, [record["metrics"].get(key) for record in group]) for key in keys]
        if kept:
            row.append(_cell("mre", [_mean_of_others(record, overlap["positions"]) for record in group]))
        if baseline:
            row.append("-" if name == baseline else _difference_cell(group, groups[baseline]))
        row += [_paper_cell(paper.get(name, {}), keys)] if paper else []
        commits = dict.fromkeys(_short(record.get("commit") or "-") for record in group)
        rows.append([*row, str((group[0].get("split") or {}).get("images", "-")), ", ".join(commits)])
    head, rule = rows[0], ["---", *("---:" for _ in rows[0][1:])]
    table = "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows[1:]))
    machines = {
        (record.get("machine") or {}).get("gpu") or (record.get("machine") or {}).get("cpu")
        for record in (record for group in groups.values() for record in group)
    }
    where = ", ".join(sorted(machine for machine in machines if machine)) or "an unnamed machine"
    notes = f"Mean ± standard deviation over the seeds; SDR in percent. Tested on {where}."
    if overlap:
        notes += (
            f" {len(overlap['positions'])} of the {overlap['images']} tested images are {overlap['why']}; "
            + (
                "the column of the other images leaves them out."
                if kept
                else "these records keep no errors of single images."
            )
        )
    notes += _images_note([record for group in groups.values() for record in group])
    return f"{table}\n\n{notes}{_superseded_note(superseded)}"


def _mean_of_others(record: dict[str, Any], positions: Sequence[int]) -> float | None:
    """Return the mean error over the images that do not stand at some positions; None if it is not kept."""
    errors = (record.get("image_errors") or {}).get("mean")
    if errors is None:
        return None
    kept = [error for i, error in enumerate(errors) if i not in positions and error is not None]
    return sum(kept) / len(kept) if kept else None


def _images_note(records: Sequence[dict[str, Any]]) -> str:
    """Return what the tested images are, as far as the records say."""
    known = [record["images"] for record in records if record.get("images")]
    kinds = {
        f"{', '.join(f'{n} {kind}' for kind, n in images['formats'].items())} (digest {images['digest']})"
        for images in known
    }
    if not kinds:
        return ""
    older = f" {len(records) - len(known)} older records do not say." if len(known) < len(records) else ""
    return f" Images: {'; '.join(sorted(kinds))}.{older}"


def _superseded_note(records: Sequence[dict[str, Any]]) -> str:
    """Return a list of the results that others took the place of."""
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
    """Return the seed of a run, those of an ensemble's members, or a question mark."""
    if record["seed"] is not None:
        return str(record["seed"])
    return ", ".join(str(seed) for seed in record.get("seeds", "?"))


def _short(commit: str) -> str:
    """Return the first letters of a commit; that files differed from it is not left out."""
    name, *dirty = commit.split("-", 1) if commit != "-" else [commit]
    return "-".join([name[:8], *dirty])


def _cell(key: str, values: list[float | None]) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    text = format_metric(key, *present)
    return text if len(present) == len(values) else f"{text} ({len(present)} of {len(values)} runs)"


def _difference_cell(group: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> str:
    test = compare_records(group, baseline)
    return f"{test.difference:+.3f}, {test.t_p:.2g} / {test.wilcoxon_p:.2g}"


def _paper_cell(paper: dict[str, Any], keys: Sequence[str]) -> str:
    words = [f"{metric_title(key, ())} {paper[key]:g}" for key in keys if key in paper]
    return ", ".join(words) + (f" ({paper['source']})" if words and "source" in paper else "") or "-"


def _run_name(path: str | Path) -> str:
    """Return the name of a record's file without its seed."""
    stem = Path(path).stem
    return stem.rpartition("_seed")[0] or stem
