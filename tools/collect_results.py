"""Write the result tables of configs/<method>/README.md from configs/<method>/results/*.json.

The table stands between `<!-- results:begin -->` and `<!-- results:end -->`; nobody types numbers.
Every JSON file is one run, as ``tools/test.py --record`` saved it; runs of one config that differ in the seed
share a row, mean +- standard deviation. The runs of a sweep (``tools/sweep.py``) lie in ``results/<sweep>/``
and have a table of their own, between ``<!-- results:<sweep>:begin -->`` and ``:end``, its rows named by the
files and in the order of the sweep. Numbers of a paper stand in ``configs/<method>/paper.json``,
``{"<config>": {"mre": 1.12, "sdr_2mm": 88.0, "source": "..."}}`` (for a sweep ``{"<sweep>": {"<row>":
...}}``), and in a column of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlandmark.evaluation import (
    compare_records,
    format_metric,
    headline_metrics,
    metric_title,
    read_records,
)
from mmlandmark.utils.files import atomic_write_text, read_json


def marks(sweep: str = "") -> tuple[str, str]:
    """Return the lines between which a table stands."""
    name = f"results:{sweep}" if sweep else "results"
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def render(
    groups: dict[str, list[dict[str, Any]]], paper: dict[str, Any], baseline: str | None = None
) -> str:
    """Return the Markdown table of all configs of a method, or of all arms of a sweep.

    With a baseline every other row says how it differs, image by image (see ``tools/compare_results.py``).
    """
    if not groups:
        return "No results are recorded yet."
    unknown = sorted(set(paper) - set(groups))
    if unknown:
        raise ValueError(f"paper.json names {unknown}, but results are recorded for {sorted(groups)} only")
    keys = headline_metrics(key for group in groups.values() for record in group for key in record["metrics"])
    rows = [
        [
            "config",
            "seeds",
            *(metric_title(key, keys) for key in keys),
            *([f"against {baseline}, p of t / Wilcoxon"] if baseline else []),
            *(["paper"] if paper else []),
            "images",
            "commit",
        ]
    ]
    for name, group in groups.items():
        row = [name, ", ".join(_seeds(record) for record in group)]
        row += [_cell(key, [record["metrics"].get(key) for record in group]) for key in keys]
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
    return f"{table}\n\nMean ± standard deviation over the seeds; SDR in percent. Tested on {where}."


def updated(readme: Path, text: str, table: str, sweep: str = "") -> str:
    """Return a README's text with ``table`` between its marks; ValueError if they are not there once."""
    begin, end = marks(sweep)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{readme}: write the lines {begin} and {end} once each where the table belongs")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"


def readme_of(folder: Path) -> str:
    """Return what the README of a method should say."""
    readme, results = folder / "README.md", folder / "results"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    paper = read_json(folder / "paper.json") if (folder / "paper.json").is_file() else {}
    sweeps = sorted(p.name for p in results.glob("*") if p.is_dir())
    known = {*sweeps, *(p.stem for p in folder.glob("sweeps/*.py"))}
    if marks()[0] in text or any(results.glob("*.json")):
        own = {name: numbers for name, numbers in paper.items() if name not in known}
        text = updated(readme, text, render(read_records(results.glob("*.json")), own))
    for sweep in sweeps:
        groups, published = read_records((results / sweep).glob("*.json"), by_file=True), paper.get(sweep, {})
        order, baseline = _plan_of(folder / "sweeps" / f"{sweep}.py")
        rows = [name for name in order if name in groups]
        rows += [name for name in groups if name not in rows]
        table = render(
            {name: groups[name] for name in rows},
            {n: published[n] for n in rows if n in published},
            baseline if baseline in groups else None,
        )
        text = updated(readme, text, table, sweep)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 when a README disagrees under --check or a file is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument(
        "configs", nargs="?", type=Path, default=Path("configs"), help="folder of the methods"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail when a README is out of date"
    )
    options = parser.parse_args(arguments)
    if not options.configs.is_dir():
        parser.error(f"{options.configs} is no folder")
    failed = False
    for folder in sorted(path for path in options.configs.iterdir() if path.is_dir()):
        readme = folder / "README.md"
        marked = readme.is_file() and "<!-- results" in readme.read_text(encoding="utf-8")
        if not marked and not any((folder / "results").rglob("*.json")):
            continue
        try:
            text = readme_of(folder)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
            continue
        if text == readme.read_text(encoding="utf-8"):
            print(f"{readme}: up to date")
        elif options.check:
            print(f"{readme}: differs from results/*.json, run tools/collect_results.py", file=sys.stderr)
            failed = True
        else:
            atomic_write_text(readme, text)
            print(f"{readme}: written")
    return int(failed)


def _seeds(record: dict[str, Any]) -> str:
    """Return the seed of a run, those of an ensemble's members, or a question mark."""
    if record["seed"] is not None:
        return str(record["seed"])
    return ", ".join(str(seed) for seed in record.get("seeds", "?"))


def _plan_of(sweep: Path) -> tuple[list[str], str | None]:
    """Return the names of a sweep's arms and ensembles in order, and its baseline; none without the file."""
    if not sweep.is_file():
        return [], None
    from mmengine.config import Config

    found = Config.fromfile(sweep)
    return [*found.get("arms", {}), *found.get("ensembles", {})], found.get("baseline")


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


if __name__ == "__main__":
    sys.exit(main())
