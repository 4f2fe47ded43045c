"""Write a trained detector as a file that runs without mmlandmark: ONNX, OpenVINO or torch.export.

From an image to points, scores and spread, for any number of images at once. The file is run and compared
with PyTorch before it is kept. Beside it a JSON says how to prepare an image and what the numbers mean.

    mmlandmark export work_dirs/my_run -o my_detector.onnx
    mmlandmark export ceph.mml.pth -o ceph.xml --int8 --images films/
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import add_trust_argument

_SUFFIXES = {".onnx": "onnx", ".xml": "openvino", ".pt2": "torch-export"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark export``."""
    parser.add_argument(
        "model", help="model file, checkpoint, folder of a run, or name of a shipped detector"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE", help="the file: *.onnx, *.xml or *.pt2"
    )
    parser.add_argument(
        "--format", choices=tuple(_SUFFIXES.values()), help="default by the suffix of the file"
    )
    parser.add_argument(
        "--half", action="store_true", help="store weights in float16: half the file, computed in float32"
    )
    parser.add_argument("--int8", action="store_true", help="convolutions in 8-bit integers; needs --images")
    parser.add_argument(
        "--images", nargs="+", default=[], metavar="PATH",
        help="image files or folders to check with and, for --int8, to take ranges of values from; the "
        "detector's own kind of image; default phantoms",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=float, default=0.5, metavar="PX",
        help="refuse --half and --int8 if points move more on average, in pixels of the input; default 0.5",
    )  # fmt: skip
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Export and say what came of it."""
    format = args.format or _SUFFIXES.get(args.out.suffix)
    if format is None:
        raise ValueError(f"{args.out}: the name must end with one of {', '.join(_SUFFIXES)}")

    from mmlandmark.inference import load_model
    from mmlandmark.inference.export import export_model
    from mmlandmark.utils.files import read_json

    model = load_model(args.model)
    made = export_model(
        model, args.out, format, half=args.half, int8=args.int8, images=args.images, limit=args.limit
    )
    print(f"{made.path}: {format}, {made.precision}, {made.size / 1e6:.2f} MB")
    print(f"against PyTorch: {made.check}")
    if made.loss is not None:
        print(f"{made.precision} against float32: {made.loss}")
    if made.left_out:
        print(f"not in the file: {made.left_out}; each landmark is its highest peak")
    reason = read_json(made.description)["no_calibration"]
    if model.calibration is not None and reason:
        print(f"no calibration in the description: {reason}")
    print(f"{made.description}: how to prepare images and read the answer")
