"""Write the tables of configs/<method>/README.md from the recorded results.

A table stands between `<!-- results:begin -->` and `<!-- results:end -->`, so that nobody types numbers.

- Every configs/<method>/results/*.json is one run, written by `mmlandmark test --record`. Runs of one config
  that differ only in the seed share a row: mean +- standard deviation.
- The runs of a sweep (`mmlandmark sweep`) lie in results/<sweep>/. Their table stands between
  `<!-- results:<sweep>:begin -->` and `:end`; rows are named after the files, in the order of the sweep.
- Results of single landmarks, of rows of a sweep side by side, stand between
  `<!-- landmarks:<sweep> <row> <row>:begin -->` and `<!-- landmarks:<sweep>:end -->`.
- Published numbers lie in configs/<method>/paper.json, {"<config>": {"mre": 1.12, "sdr_2mm": 88.0, "source":
  "..."}}, for a sweep {"<sweep>": {"<row>": ...}}, and get columns of their own. The tables of the paper as
  printed lie there under "tables" and are written to configs/<method>/PAPER.md.
- A result that was replaced is moved to superseded/ beside it, with the replacement and the reason, and is
  listed below the table.
- What a detector costs, written by `mmlandmark flops --record`, lies in configs/<method>/costs/<config>.json
  and gets columns: number of models, parameters, memory and time. For a row of a sweep it is
  costs/<sweep>/<row>.json.
- configs/overlaps.json names test sets that contain training images; a column has the mean error over their
  other images.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import atomic_write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark collect``."""
    parser.add_argument(
        "configs",
        nargs="?",
        type=Path,
        default=Path("configs"),
        help="folder of the methods; default configs",
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a page is out of date")


def run(args: argparse.Namespace) -> int:
    """Write the pages; return 1 if a file is wrong or, with --check, if a page is out of date.

    Raises:
        FileNotFoundError: There is nothing to write.
        NotADirectoryError: The folder does not exist.
    """
    if not args.configs.is_dir():
        raise NotADirectoryError(f"{args.configs} is not a folder")
    failed = found = False
    for folder in sorted(path for path in args.configs.iterdir() if path.is_dir()):
        try:
            pages = pages_of(folder)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = found = True
            continue
        found = found or bool(pages)
        for page, text in pages.items():
            if page.is_file() and text == page.read_text(encoding="utf-8"):
                print(f"{page}: up to date")
            elif args.check:
                print(f"{page}: differs from the JSON files, run mmlandmark collect", file=sys.stderr)
                failed = True
            else:
                atomic_write_text(page, text)
                print(f"{page}: written")
    if not found:
        raise FileNotFoundError(
            f"{args.configs}: no folder in it has results; give the folder above those of the methods"
        )
    return int(failed)


def pages_of(folder: Path) -> dict[Path, str]:
    """Return the text that the README of a method and the page of its paper's tables should have."""
    from mmlandmark.evaluation import published_page, read_published

    readme, paper, pages = folder / "README.md", folder / "paper.json", {}
    marked = readme.is_file() and "<!-- results" in readme.read_text(encoding="utf-8")
    if marked or any((folder / "results").rglob("*.json")):
        pages[readme] = readme_of(folder)
    if read_published(paper)[1]:
        pages[folder / "PAPER.md"] = published_page(paper)
    return pages


def readme_of(folder: Path) -> str:
    """Return the text that the README of a method should have."""
    from mmlandmark.evaluation import read_overlaps, read_published

    readme, results = folder / "README.md", folder / "results"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    published, _ = read_published(folder / "paper.json")
    overlaps = read_overlaps(folder.parent / "overlaps.json")
    sweeps = sorted(p.name for p in results.glob("*") if p.is_dir() and p.name != "superseded")
    if marks()[0] in text or any(results.glob("*.json")):
        known = {*sweeps, *(p.stem for p in folder.glob("sweeps/*.py"))}
        own = {name: numbers for name, numbers in published.items() if name not in known}
        text = updated(readme, text, table_of_runs(results, own, overlaps))
    for sweep in sweeps:
        plan = folder / "sweeps" / f"{sweep}.py"
        table = table_of_sweep(results / sweep, plan, published.get(sweep, {}), overlaps)
        text = updated(readme, text, table, sweep)
    return with_landmarks(readme, text, results)


def table_of_runs(results: Path, published: dict[str, Any], overlaps: Any) -> str:
    """Return the table of the runs of a method that belong to no sweep."""
    from mmlandmark.evaluation import read_costs, read_records, read_superseded, results_table

    records = read_records(results.glob("*.json"))
    costs = read_costs(results.with_name("costs").glob("*.json"))
    superseded = read_superseded(results)
    return results_table(records, published, superseded=superseded, overlaps=overlaps, costs=costs)


def table_of_sweep(results: Path, sweep: Path, published: dict[str, Any], overlaps: Any) -> str:
    """Return the table of a sweep, its rows in the order of the sweep's file if there is one."""
    from mmlandmark.evaluation import read_costs, read_records, read_superseded, results_table

    groups = read_records(results.glob("*.json"), by_file=True)
    order, baseline = _order_of(sweep)
    rows = [name for name in order if name in groups]
    rows += [name for name in groups if name not in rows]
    return results_table(
        {name: groups[name] for name in rows},
        {name: published[name] for name in rows if name in published},
        baseline if baseline in groups else None,
        read_superseded(results),
        overlaps,
        read_costs((results.parents[1] / "costs" / results.name).glob("*.json")),
    )


def marks(sweep: str = "") -> tuple[str, str]:
    """Return the lines between which a table stands."""
    name = f"results:{sweep}" if sweep else "results"
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def updated(readme: Path, text: str, table: str, sweep: str = "") -> str:
    """Return the text of a README with ``table`` between its marks.

    Raises:
        ValueError: The marks do not stand there once each, in order.
    """
    begin, end = marks(sweep)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{readme}: write the lines {begin} and {end} once each where the table belongs")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"


def with_landmarks(readme: Path, text: str, results: Path) -> str:
    """Return the text of a README with its tables of single landmarks.

    Raises:
        ValueError: A mark names a row without results, or has no end.
    """
    from mmlandmark.evaluation import landmark_table, read_records
    from mmlandmark.utils.table_text import replaced

    for mark, sweep, shown in re.findall(r"<!-- (landmarks:(\S+)((?: \S+)*)):begin -->", text):
        groups = read_records((results / sweep).glob("*.json"), by_file=True)
        unknown = sorted(set(shown.split()) - set(groups))
        if unknown:
            raise ValueError(
                f"{readme}: {mark} names {unknown}, but there are results of {sorted(groups)} only"
            )
        try:
            table = landmark_table({name: groups[name] for name in shown.split() or groups})
            text = replaced(text, mark, table, end=f"landmarks:{sweep}")
        except ValueError as error:
            raise ValueError(f"{readme}: {mark}: {error}") from error
    return text


def _order_of(sweep: Path) -> tuple[list[str], str | None]:
    """Return the names of a sweep's arms and ensembles in order, and of its baseline."""
    if not sweep.is_file():
        return [], None
    from mmlandmark.engine.config import read_config

    content = read_config(sweep)
    return [*content.get("arms", {}), *content.get("ensembles", {})], content.get("baseline")
