"""Choose the image to annotate: the one that shows most of what all of them show.

IMAGES are image files, patterns and folders, or one config, of which the training images are taken. Images
are compared point by point: by SIFT or, with --model, by the embeddings of a trained detector. A point is
found if the most similar point of the other image leads back to it.

    mmlandmark select-template films/ -o choice
    mmlandmark select-template films/ --model work_dirs/my_run --number 5 -o choice
    mmlandmark select-template films/ --annotated 125 --number 3 -o choice

Annotate what the contact sheet shows first, and see that nothing of it is unusual. The folder also holds the
ranking of all images, and the ids of the chosen ones for TemplateHook.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mmlandmark.utils.command_line import add_trust_argument, positive_number

if TYPE_CHECKING:
    from mmlandmark.apis.template_choice import TemplateChoice

_SHOWN = 10  # rows of the ranking, and failures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark select-template``."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGES", help="image files, patterns or folders, or a config"
    )
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="folder of ranking, ids and sheet")
    parser.add_argument(
        "--number", type=positive_number, default=1, help="images to choose, one by one; default 1"
    )
    parser.add_argument(
        "--annotated", nargs="+", default=[], metavar="ID",
        help="images that are annotated already, among --number; others are chosen for what they lack",
    )  # fmt: skip
    parser.add_argument(
        "--model", help="model file, checkpoint or run of a TemplateDetector; default: compare by SIFT"
    )
    parser.add_argument(
        "--points", type=positive_number, default=200, help="points of an image at most; default 200"
    )
    parser.add_argument(
        "--limit", type=positive_number, default=300,
        help="compare at most so many images, spread over all; default 300",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", help="of the model: cpu, cuda or cuda:1; default cpu")
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Choose, print the ranking and write the folder; return 1 if an image cannot be read."""
    from mmlandmark.apis.template_choice import choose_templates, write_choice

    options = dict(points=args.points, limit=args.limit, device=args.device)
    number = max(args.number, len(args.annotated))
    found = choose_templates(args.images, number, args.annotated, args.model, **options, show_progress=True)
    for failure in found.failures[:_SHOWN]:
        print(f"left out: {failure.image or failure.sample_id}: {failure.reason}", file=sys.stderr)
    if len(found.failures) > _SHOWN:
        print(f"left out: {len(found.failures) - _SHOWN} more", file=sys.stderr)
    print(description(found))
    for path in write_choice(found, args.out):
        print(f"wrote {path}")
    return int(bool(found.failures))


def description(found: TemplateChoice) -> str:
    """Return the ranking and what was chosen, as text."""
    from mmlandmark.utils.table_text import markdown_table, markdown_text

    names = [markdown_text(case.sample_id) for case in found.cases]
    ranking, choice = found.ranking, found.choice
    rows = [[str(rank), names[i], f"{choice.alone[i]:.3f}"] for rank, i in enumerate(ranking, 1)]
    shown = rows if len(rows) <= _SHOWN else [*rows[: _SHOWN - 1], ["...", "", ""], rows[-1]]
    lines = [
        f"{len(names)} images compared by {found.method}. Coverage of an image: the part of "
        "the others' points that are found in it.",
        "",
        markdown_table(["rank", "image", "coverage"], shown, left=2, padded=True),
        "",
    ]
    pairs = zip(choice.chosen, choice.coverage, strict=True)
    lines += [
        f"template {place}: {names[i]}, coverage {value:.3f}" for place, (i, value) in enumerate(pairs, 1)
    ]
    least = ", ".join(f"{names[i]} ({choice.of_images[i]:.3f})" for i in found.least_covered[:3])
    return "\n".join([*lines, f"least like {'it' if len(choice.chosen) == 1 else 'any of them'}: {least}"])
