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
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import atomic_write_text

_SDR = re.compile(r"(?:.*/)?sdr_(\d+(?:\.\d+)?)(\w+)")
_TITLES = {"mre": "MRE", "coordinate_mse": "MSE (fraction of the image)", "pearson_rho": "Pearson rho"}
_DIGITS = {"coordinate_mse": 5, "pearson_rho": 4}


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; ValueError naming the file if there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON, line {error.lineno}: {error.msg}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(data).__name__}")
    return data


def marks(sweep: str = "") -> tuple[str, str]:
    """Return the lines between which a table stands."""
    name = f"results:{sweep}" if sweep else "results"
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def read_records(folder: Path, by_file: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return the records in a ``results`` folder by config, seeds in order.

    With ``by_file`` they go by the name of their file, without the seed.

    Raises:
        ValueError: A file lacks a key, two files hold one seed of one config, or the runs under one name
            come from different configs or test sets, so that their mean means nothing.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        record = read_json(path)
        missing = [key for key in ("config", "seed", "metrics", "config_hash") if key not in record]
        if missing:
            raise ValueError(f"{path}: no {', '.join(missing)}; record it with tools/test.py --record")
        name = (path.stem.rpartition("_seed")[0] or path.stem) if by_file else record["config"]
        group = groups.setdefault(name, [])
        for other in group:
            if other["seed"] == record["seed"]:
                raise ValueError(
                    f"{path}: seed {record['seed']} is already in {other['path']}; keep one of them"
                )
            for what, one, two in (
                ("config", other["config_hash"], record["config_hash"]),
                ("test set", _split(other), _split(record)),
            ):
                if one != two:
                    raise ValueError(
                        f"{path} and {other['path']}: both say {name}, but the {what} differs "
                        f"({two} and {one}); record the older one again"
                    )
        group.append({**record, "path": path})
    order = {"key": lambda record: (record["seed"] is None, record["seed"] or 0)}
    return {name: sorted(groups[name], **order) for name in sorted(groups)}


def render(groups: dict[str, list[dict[str, Any]]], paper: dict[str, Any]) -> str:
    """Return the Markdown table of all configs of a method."""
    if not groups:
        return "No results are recorded yet."
    unknown = sorted(set(paper) - set(groups))
    if unknown:
        raise ValueError(f"paper.json names {unknown}, but results are recorded for {sorted(groups)} only")
    keys = _metric_keys([record for group in groups.values() for record in group])
    rows = [
        [
            "config",
            "seeds",
            *(_title(key, keys) for key in keys),
            *(["paper"] if paper else []),
            "images",
            "commit",
        ]
    ]
    for name, group in groups.items():
        row = [name, ", ".join(_seeds(record) for record in group)]
        row += [_cell(key, [record["metrics"].get(key) for record in group]) for key in keys]
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
        text = updated(readme, text, render(read_records(results), own))
    for sweep in sweeps:
        groups, published = read_records(results / sweep, by_file=True), paper.get(sweep, {})
        order = _rows_of(folder / "sweeps" / f"{sweep}.py")
        rows = [name for name in order if name in groups]
        rows += [name for name in groups if name not in rows]
        table = render(
            {name: groups[name] for name in rows}, {n: published[n] for n in rows if n in published}
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


def _rows_of(sweep: Path) -> list[str]:
    """Return the names of a sweep's arms and ensembles in its order; none without the file."""
    if not sweep.is_file():
        return []
    from mmengine.config import Config

    found = Config.fromfile(sweep)
    return [*found.get("arms", {}), *found.get("ensembles", {})]


def _short(commit: str) -> str:
    """Return the first letters of a commit; that files differed from it is not left out."""
    name, *dirty = commit.split("-", 1) if commit != "-" else [commit]
    return "-".join([name[:8], *dirty])


def _split(record: dict[str, Any]) -> Any:
    return (record.get("split") or {}).get("hash")


def _metric_keys(records: list[dict[str, Any]]) -> list[str]:
    """Return the keys worth a column: MRE, SDR by unit and growing radius, then the spine's numbers."""
    present = {key for record in records for key in record["metrics"]}
    rates = sorted(
        (key for key in present if _SDR.fullmatch(key)), key=lambda key: (_unit(key), _radius(key))
    )
    heads = sorted(key for key in present if key.rsplit("/", 1)[-1] == "mre")
    return [*heads, *rates, *sorted(key for key in present if key.rsplit("/", 1)[-1] in _DIGITS)]


def _unit(key: str) -> str:
    return _SDR.fullmatch(key)[2]


def _radius(key: str) -> float:
    return float(_SDR.fullmatch(key)[1])


def _title(key: str, keys: Sequence[str]) -> str:
    rate = _SDR.fullmatch(key)
    prefix = key.rsplit("/", 1)[0] + " " if "/" in key else ""
    if rate:
        return f"{prefix}SDR {rate[1]} {rate[2]}"
    name = key.rsplit("/", 1)[-1]
    units = {_unit(other) for other in keys if _SDR.fullmatch(other)} if name == "mre" else set()
    return prefix + _TITLES[name] + (f" ({units.pop()})" if len(units) == 1 else "")


def _cell(key: str, values: list[float | None]) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    digits = _DIGITS.get(key.rsplit("/", 1)[-1], 3 if key.rsplit("/", 1)[-1] == "mre" else 2)
    text = f"{statistics.mean(present):.{digits}f}"
    if len(present) > 1:
        text += f" ± {statistics.stdev(present):.{digits}f}"
    return text if len(present) == len(values) else f"{text} ({len(present)} of {len(values)} runs)"


def _paper_cell(paper: dict[str, Any], keys: Sequence[str]) -> str:
    words = [f"{_title(key, ())} {paper[key]:g}" for key in keys if key in paper]
    return ", ".join(words) + (f" ({paper['source']})" if words and "source" in paper else "") or "-"


if __name__ == "__main__":
    sys.exit(main())
