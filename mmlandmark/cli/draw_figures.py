"""Draw the figures of methods, as their publications have them, from any run.

    features         FSF-LD, figures 5 and 6: where features are strong, and heatmaps, a row per checkpoint
    loss-weights     FARNet, figure 4: what an error weighs near a landmark, a curve per config
    configuration    spatial configuration loss, figures 4 and 5: maps of position, correlations of landmarks

Sources are checkpoints, or work folders, of which the newest is taken; for loss-weights, configs. NAME=PATH
gives one a name:

    mmlandmark draw-figures features large=work_dirs/unet5 small=work_dirs/unet4 --out features.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import CfgOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark draw-figures``."""
    parser.add_argument("figure", choices=("features", "loss-weights", "configuration"))
    parser.add_argument(
        "sources", nargs="+", metavar="[NAME=]PATH", help="checkpoints, work folders or configs"
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--case", metavar="ID", help="sample of the test data; the first by default")
    parser.add_argument(
        "--modules", nargs="+", action=CfgOptions, default={}, metavar="NAME=MODULE,MODULE",
        help="features to show of a checkpoint; the two finest blocks of a U-Net's decoder by default",
    )  # fmt: skip
    parser.add_argument(
        "--cfg-options", nargs="+", action=CfgOptions, default={}, metavar="KEY=VALUE",
        help="override values of all configs, such as where the data is",
    )  # fmt: skip


def named(sources: list[str]) -> dict[str, str]:
    """Return name -> path; a path without a name is called as its file, a checkpoint as its folder.

    Raises:
        ValueError: Two have one name.
    """
    found: dict[str, str] = {}
    for source in sources:
        name, given, path = source.partition("=")
        if not given:
            path, file = source, Path(source)
            name = file.parent.name if file.suffix == ".pth" else file.stem
        if name in found:
            raise ValueError(f"two sources are called {name!r}; name them with NAME=PATH")
        found[name] = path
    return found


def run(args: argparse.Namespace) -> None:
    """Draw a figure."""
    sources = named(args.sources)
    unknown = sorted(set(args.modules) - set(sources))
    if unknown:
        raise ValueError(f"--modules names {unknown}; the sources are {sorted(sources)}")

    from mmlandmark.apis import draw_configuration, draw_features, draw_loss_weights, prepare_config

    if args.figure == "loss-weights":
        configs = {name: prepare_config(path, options=args.cfg_options) for name, path in sources.items()}
        path = draw_loss_weights(configs, args.out)
    elif args.figure == "features":
        modules = {name: [paths] if isinstance(paths, str) else paths for name, paths in args.modules.items()}
        path = draw_features(sources, args.out, case=args.case, modules=modules, options=args.cfg_options)
    else:
        path = draw_configuration(sources, args.out, case=args.case, options=args.cfg_options)
    print(f"wrote {path}")
