"""Draw the figures of publications for any run.

    features         FSF-LD, figures 5 and 6: where features are strong, and heatmaps; a row per checkpoint
    loss-weights     FARNet, figure 4: the weight of an error near a landmark; a curve per config
    configuration    spatial configuration loss, figures 4 and 5: maps of position, correlations of landmarks
    label-rounds     shape-regulated self-training, figure 4 B in numbers: how far pseudo labels are from an
                     annotation that is hidden, round by round; a curve per arm of a sweep
    landmark-curves  one-shot detection, the seesaw: errors of each landmark over the validations of a
                     training; a panel per landmark, a curve per run

Sources are checkpoints, model files, or work folders, of which the newest checkpoint is taken; for
loss-weights, configs or model files; for label-rounds, work folders of sweeps, or the JSON of an earlier
figure; for landmark-curves, work folders of runs.
NAME=PATH names a source:

    mmlandmark draw-figures features large=work_dirs/unet5 small=work_dirs/unet4 --out features.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import KeyValues, add_options_argument, add_trust_argument

MODEL = ".mml.pth"
FIGURES = ("features", "loss-weights", "configuration", "label-rounds", "landmark-curves")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark draw-figures``."""
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument(
        "sources", nargs="+", metavar="[NAME=]PATH", help="checkpoints, work folders or configs"
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--case", metavar="ID", help="sample of the test data; default the first")
    parser.add_argument(
        "--modules", nargs="+", action=KeyValues, default={}, metavar="NAME=MODULE,MODULE",
        help="features of a source to show; default the two finest blocks of a U-Net's decoder",
    )  # fmt: skip
    parser.add_argument(
        "--landmarks", nargs="+", metavar="NAME", help="to show in landmark-curves; default all"
    )
    add_options_argument(parser, "override values in all configs, such as the folder of the data")
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Draw the figure."""
    sources = named(args.sources)
    unknown = sorted(set(args.modules) - set(sources))
    if unknown:
        raise ValueError(f"--modules names {unknown}; the sources are {sorted(sources)}")

    from mmlandmark.apis import (
        draw_configuration,
        draw_features,
        draw_label_rounds,
        draw_landmark_curves,
        draw_loss_weights,
        prepare_config,
    )

    if args.figure == "label-rounds":
        path = draw_label_rounds(sources, args.out)
    elif args.figure == "landmark-curves":
        path = draw_landmark_curves(sources, args.out, args.landmarks)
    elif args.figure == "loss-weights":
        configs = {name: prepare_config(path, options=args.cfg_options) for name, path in sources.items()}
        path = draw_loss_weights(configs, args.out)
    elif args.figure == "features":
        modules = {name: [paths] if isinstance(paths, str) else paths for name, paths in args.modules.items()}
        path = draw_features(sources, args.out, case=args.case, modules=modules, options=args.cfg_options)
    else:
        path = draw_configuration(sources, args.out, case=args.case, options=args.cfg_options)
    print(f"wrote {path}")


def named(sources: list[str]) -> dict[str, str]:
    """Return name -> path; the default name is that of the file, for a checkpoint that of its folder.

    Args:
        sources: ``PATH`` or ``NAME=PATH``.

    Raises:
        ValueError: Two sources have one name.
    """
    paths: dict[str, str] = {}
    for source in sources:
        name, separator, path = source.partition("=")
        if not separator:
            path, file = source, Path(source)
            name = file.parent.name if file.suffix == ".pth" else file.stem
            name = file.name.removesuffix(MODEL) if file.name.endswith(MODEL) else name
        if name in paths:
            raise ValueError(f"two sources are called {name!r}; name them with NAME=PATH")
        paths[name] = path
    return paths
