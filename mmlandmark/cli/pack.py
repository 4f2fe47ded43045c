"""Put a trained detector into one file, or show what such a file holds.

The file holds weights, config, landmarks, results of tests, and how it was trained. Every command that takes
a config and a checkpoint takes it.

    mmlandmark pack work_dirs/ceph -o ceph19.mml.pth --half --licence "research use"
    mmlandmark pack ceph19.mml.pth
    mmlandmark pack ceph19 -o mine.mml.pth --schema with_my_measures.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import add_options_argument, add_trust_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark pack``."""
    parser.add_argument(
        "source", help="config, folder of a run, checkpoint, model file, or name of a shipped detector"
    )
    parser.add_argument(
        "checkpoint", nargs="?", help="of a config or a run: a file, last (the default) or best"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write, NAME.mml.pth; without it nothing is written",
    )
    parser.add_argument("--half", action="store_true", help="store the weights in half precision")
    parser.add_argument("--name", help="of the detector; default that of its config")
    parser.add_argument("--licence", help="terms of use, and where data and weights come from")
    parser.add_argument(
        "--tested", type=Path, metavar="FOLDER",
        help="take along the results of a test of this model: the folder that mmlandmark test wrote",
    )  # fmt: skip
    parser.add_argument(
        "--schema", metavar="FILE",
        help="name or JSON file of the same landmarks with other measures, pairs or links",
    )  # fmt: skip
    parser.add_argument("--work-dir", help="folder of the run of a config; default work_dirs/<config name>")
    add_options_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Pack, and print what is inside."""
    from dataclasses import replace

    from mmlandmark.inference.description import describe_model
    from mmlandmark.inference.measured import check_tested, results_in, with_half_difference
    from mmlandmark.models.frozen_config import check_frozen

    model = packed_model(args)
    given = {key: getattr(args, key) for key in ("name", "licence") if getattr(args, key) is not None}
    model = replace(model, **given)
    if args.schema is not None:
        model = replace(model, schema=_schema_for(model, args.schema))
    if args.tested is not None:
        results = results_in(args.tested, model.config)
        if not results:
            raise FileNotFoundError(f"{args.tested} holds no report.json: name the folder of a test")
        unknown = check_tested(args.tested, model)
        if unknown:
            print(f"note: {unknown}")
        model = replace(model, measured=model.measured | results)
    if args.half:
        model = replace(with_half_difference(model), half=True)
    if args.out is not None:
        model.save(args.out)
    print(describe_model(model))
    try:
        check_frozen(model.config, "loading the file needs trust")
    except ValueError as error:
        print(f"note: {error}")
    if args.out is not None:
        print(f"wrote {args.out}, {args.out.stat().st_size / 1e6:.2f} MB")


def _schema_for(model: Any, source: str) -> Any:
    """Return another schema of a model's landmarks; ValueError if it has others."""
    from mmlandmark.structures import LandmarkSchema, name_difference

    schema = LandmarkSchema.load(source)
    there, here = model.schema, schema
    if (there.landmarks, there.dims) == (here.landmarks, here.dims):
        return schema
    dims = f"it has dims {here.dims}, the detector {there.dims}" if here.dims != there.dims else None
    names = name_difference(there.landmarks, here.landmarks) or f"the detector's are {list(there.landmarks)}"
    raise ValueError(
        f"--schema {source}: it must name the landmarks of the detector (there), in the same order: "
        f"{dims or names}"
    )


def packed_model(args: argparse.Namespace) -> Any:
    """Return the model that the arguments name."""
    from mmlandmark.apis import find_checkpoint, prepare_config
    from mmlandmark.apis.tested_run import tested_run
    from mmlandmark.inference.loading import checkpoint_of_run, load_model, model_of_run

    source = Path(args.source)
    if source.is_dir() and args.checkpoint in ("last", "best"):
        return load_model(checkpoint_of_run(source, args.checkpoint))
    if source.is_dir() and args.checkpoint:
        return load_model(args.checkpoint)
    if source.suffix == ".pth" or not source.is_file():
        if args.checkpoint:
            raise ValueError(
                f"{source} is a trained detector and takes no checkpoint: name a config or a folder"
            )
        return load_model(args.source)
    config = prepare_config(args.source, options=args.cfg_options, work_dir=args.work_dir)
    checkpoint = find_checkpoint(config, args.checkpoint)
    return model_of_run(tested_run(config)[0], checkpoint)
