"""Write the result tables of configs/<method>/README.md from configs/<method>/results/*.json.

The table stands between `<!-- results:begin -->` and `<!-- results:end -->`; nobody types numbers.
Every JSON file is one run, as ``mmlandmark test --record`` saved it; runs of one config that differ in the
seed share a row, mean +- standard deviation. The runs of a sweep (``mmlandmark sweep``) lie in
``results/<sweep>/`` and have a table of their own, between ``<!-- results:<sweep>:begin -->`` and ``:end``,
its rows named by the files and in the order of the sweep. Numbers of a paper stand in
``configs/<method>/paper.json``,
``{"<config>": {"mre": 1.12, "sdr_2mm": 88.0, "source": "..."}}`` (for a sweep ``{"<sweep>": {"<row>":
...}}``), and in a column of their own. The tables of the paper, as they are printed, stand there too, under
``"tables"``, and are written to ``configs/<method>/PAPER.md``. A result that another took the place of is
moved to ``superseded/`` beside it, says by what and why, and is listed below the table.
``configs/overlaps.json`` names test sets with images that were trained on; a column has the mean error over
their other images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmlandmark.utils.files import atomic_write_text


def marks(sweep: str = "") -> tuple[str, str]:
    """Return the lines between which a table stands."""
    name = f"results:{sweep}" if sweep else "results"
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def updated(readme: Path, text: str, table: str, sweep: str = "") -> str:
    """Return a README's text with ``table`` between its marks; ValueError if they are not there once."""
    begin, end = marks(sweep)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{readme}: write the lines {begin} and {end} once each where the table belongs")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"


def readme_of(folder: Path) -> str:
    """Return what the README of a method should say."""
    from mmlandmark.evaluation import (
        read_overlaps,
        read_published,
        read_records,
        read_superseded,
        results_table,
    )

    readme, results = folder / "README.md", folder / "results"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    paper, _ = read_published(folder / "paper.json")
    overlaps = read_overlaps(folder.parent / "overlaps.json")
    sweeps = sorted(p.name for p in results.glob("*") if p.is_dir() and p.name != "superseded")
    known = {*sweeps, *(p.stem for p in folder.glob("sweeps/*.py"))}
    if marks()[0] in text or any(results.glob("*.json")):
        own = {name: numbers for name, numbers in paper.items() if name not in known}
        kept = read_superseded(results)
        table = results_table(read_records(results.glob("*.json")), own, superseded=kept, overlaps=overlaps)
        text = updated(readme, text, table)
    for sweep in sweeps:
        groups, published = read_records((results / sweep).glob("*.json"), by_file=True), paper.get(sweep, {})
        order, baseline = _plan_of(folder / "sweeps" / f"{sweep}.py")
        rows = [name for name in order if name in groups]
        rows += [name for name in groups if name not in rows]
        table = results_table(
            {name: groups[name] for name in rows},
            {n: published[n] for n in rows if n in published},
            baseline if baseline in groups else None,
            read_superseded(results / sweep),
            overlaps,
        )
        text = updated(readme, text, table, sweep)
    return text


def pages_of(folder: Path) -> dict[Path, str]:
    """Return what the README of a method and the page of its paper's tables should say."""
    from mmlandmark.evaluation import published_page, read_published

    readme, paper, pages = folder / "README.md", folder / "paper.json", {}
    marked = readme.is_file() and "<!-- results" in readme.read_text(encoding="utf-8")
    if marked or any((folder / "results").rglob("*.json")):
        pages[readme] = readme_of(folder)
    if read_published(paper)[1]:
        pages[folder / "PAPER.md"] = published_page(paper)
    return pages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark collect``."""
    parser.add_argument(
        "configs", nargs="?", type=Path, default=Path("configs"), help="folder of the methods"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail when a README is out of date"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; return 0, or 1 when a README disagrees under --check or a file is wrong."""
    if not args.configs.is_dir():
        raise NotADirectoryError(f"{args.configs} is no folder")
    failed = False
    for folder in sorted(path for path in args.configs.iterdir() if path.is_dir()):
        try:
            pages = pages_of(folder)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
            continue
        for page, text in pages.items():
            if page.is_file() and text == page.read_text(encoding="utf-8"):
                print(f"{page}: up to date")
            elif args.check:
                print(f"{page}: differs from the JSON files, run mmlandmark collect", file=sys.stderr)
                failed = True
            else:
                atomic_write_text(page, text)
                print(f"{page}: written")
    return int(failed)


def _plan_of(sweep: Path) -> tuple[list[str], str | None]:
    """Return the names of a sweep's arms and ensembles in order, and its baseline; none without the file."""
    if not sweep.is_file():
        return [], None
    from mmengine.config import Config

    found = Config.fromfile(sweep)
    return [*found.get("arms", {}), *found.get("ensembles", {})], found.get("baseline")
