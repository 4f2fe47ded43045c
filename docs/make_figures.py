"""Draw the pictures of the documentation. They show phantoms and curves, so anyone may redistribute them.

python docs/make_figures.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.utils.command_line import run_and_exit
from mmlandmark.utils.files import read_json

GAP = 12  # white pixels between pictures
PATIENTS = {"ceph": 3, "hand": 2, "spine": 2, "head": 7}  # those that show well at this size


def main(argv: list[str] | None = None) -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "images", help="folder of the PNG files"
    )
    parser.add_argument(
        "--height", type=int, default=560, help="of a phantom in the pictures, in pixels; default 560"
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    args = parser.parse_args(argv)
    for path in (
        save_phantoms(args.out / "phantoms.png", args.height),
        save_head(args.out / "phantom_head.png", args.height),
        save_augmentation(args.out / "augmentation.png", args.height * 2 // 3),
        save_coordinates(args.out / "coordinates.png"),
        save_coverage(args.out / "coverage.png"),
        save_label_rounds(args.out / "label_rounds.png"),
        save_flags(args.out / "flags.png"),
        save_memory(args.out / "memory.png"),
        save_shape_modes(args.out / "shape_modes.png"),
        save_abnormal(args.out / "abnormal.png"),
        save_annotation_curve(args.out / "annotation_curve.png"),
        save_landmark_curves(args.out / "landmark_curves.png"),
    ):
        print(path)


def save_phantoms(path: Path, height: int) -> Path:
    """Save a strip of one phantom of every kind with its landmarks."""
    return save_picture(side_by_side([_phantom(kind, height) for kind in ("ceph", "hand", "spine")]), path)


def _phantom(kind: str, height: int) -> np.ndarray:
    from mmlandmark.datasets.phantom import DEFAULT_SIZES, SCHEMAS, render_phantom
    from mmlandmark.structures import LandmarkSchema
    from mmlandmark.visualization import draw_landmarks

    rows, columns = DEFAULT_SIZES[kind]
    # Rendered at twice the size and averaged: the film's grain would fill the file.
    size = (2 * height, round(2 * height * columns / rows))
    image, points, _ = render_phantom(kind, 0, PATIENTS[kind], size)
    schema = LandmarkSchema.load(SCHEMAS[kind])
    names = list(schema.landmarks)
    if kind == "hand":  # Its names carry nothing but the number.
        names = [name.rsplit("_", 1)[-1] for name in names]
    if kind == "spine":  # One name for the four corners of a vertebra.
        names = [name.split()[0] if name.endswith("top right") else "" for name in names]
    scale = {"ceph": 1.4, "hand": 1.4, "spine": 1.1}[kind]
    return draw_landmarks(image, points, names=names, links=schema.links, long_side=height, scale=scale)


def save_head(path: Path, height: int) -> Path:
    """Save slices through a phantom head, and its projections with all landmarks."""
    from mmlandmark.datasets import PhantomDataset
    from mmlandmark.structures import apply_matrix, invert_matrix
    from mmlandmark.visualization import VolumePicture

    size = (height * 5 // 16, height * 3 // 8, height * 3 // 8)
    dataset = PhantomDataset("head", PATIENTS["head"] + 1, size, pipeline=[dict(type="LoadImage")])
    loaded = dataset[PATIENTS["head"]]
    matrix = loaded["img_from_original"]
    picture = VolumePicture(
        loaded["img"],
        gt=apply_matrix(matrix, loaded["landmarks"]),
        world_from_volume=loaded["world_from_original"] @ invert_matrix(matrix),
        window=(-300, 1200),
        links=dataset.metainfo["links"],
    )
    sella = picture.centers[dataset.schema.landmarks.index("sella")]
    rows = [picture.views(sella, long_side=height * 5 // 8), picture.views(long_side=height * 5 // 8)]
    return save_picture(np.concatenate(rows), path)


def save_augmentation(path: Path, height: int) -> Path:
    """Save one phantom as it is and as a training pipeline draws it in three epochs."""
    from mmlandmark.datasets import PhantomDataset
    from mmlandmark.visualization import draw_landmarks

    size = (height, height * 4 // 5)
    steps: list[dict[str, Any]] = [
        dict(type="RandomAffine", rotation=15, scale=0.15, shift=5 / 48),
        dict(type="RandomElastic", amplitude=1 / 24, cells=3),
        dict(type="RandomGamma", gamma=(0.5, 2.0)),
    ]
    pictures = []
    for epoch in range(4):
        geometry, intensity = (steps[:2], steps[2:]) if epoch else ([], [])
        pipeline = [dict(type="LoadImage"), *geometry, dict(type="Resample"), *intensity]
        dataset = PhantomDataset("ceph", 6, size, pipeline=[*pipeline, dict(type="PackInputs")])
        dataset.set_epoch(epoch)
        packed = dataset[5]
        sample = packed["data_samples"]
        image = sample.unit_pixels(packed["inputs"])[0].numpy()
        points = sample.to_input(sample.gt_landmarks).numpy()
        grey = np.clip(image * 255, 0, 255).astype(np.uint8)
        pictures.append(draw_landmarks(grey, points, links=dataset.metainfo["links"], scale=1.6))
    return save_picture(side_by_side(pictures), path)


def save_coordinates(path: Path) -> Path:
    """Save a drawing of eight pixels that become four, and where a landmark goes."""
    from mmlandmark.visualization.style import BLUE, VERMILLION, figure, hex_color, save_figure

    point, scale = 5.0, 0.5
    ours, other = (point + 0.5) * scale - 0.5, point * scale
    with figure(2, 1, size=(8.0, 3.2)) as (canvas, axes):
        for ax, count, width in zip(axes, (8, 4), (1.0, 2.0), strict=True):
            for i in range(count):
                ax.add_patch(_box(i * width, width, shade=0.88 if i % 2 else 0.96))
                ax.text((i + 0.5) * width, 0.16, str(i), ha="center", va="center", color="#666666", size=9)
                ax.plot((i + 0.5) * width, 0.5, ".", color="#999999", markersize=5)
            ax.set(xlim=(-0.1, 8.1), ylim=(0, 1), yticks=[])
            ax.set_xticks(np.arange(count + 1) * width, [f"{i - 0.5:g}" for i in range(count + 1)])
            ax.grid(visible=False)
            for side in ("left", "bottom"):
                ax.spines[side].set_visible(False)
        blue, red = hex_color(BLUE), hex_color(VERMILLION)
        place = point + 0.5  # both rows are drawn over the same anatomy, from the left border on
        axes[0].plot(place, 0.5, "o", color=blue, markersize=9)
        axes[0].set_title(f"before: 8 pixels, landmark at x = {point:g} (centre of a pixel)")
        axes[1].plot((ours + 0.5) / scale, 0.5, "o", color=blue, markersize=9)
        axes[1].plot((other + 0.5) / scale, 0.5, "o", color=red, markersize=9)
        axes[1].annotate(
            f"(x + 0.5) s - 0.5 = {ours:g}", ((ours + 0.5) / scale, 0.5), (-12, 12), color=blue, ha="right",
            textcoords="offset points",
        )  # fmt: skip
        axes[1].annotate(
            f"x s = {other:g}: too far right\nby {(other - ours) / scale:g} original pixel",
            ((other + 0.5) / scale, 0.5), (12, 8), color=red, textcoords="offset points",
        )  # fmt: skip
        axes[1].set_title(f"after a resize by s = {scale:g}: 4 pixels over the same anatomy")
        return save_figure(canvas, path)


def save_coverage(path: Path) -> Path:
    """Save nominal against observed coverage of the report on the page on uncertainty."""
    from mmlandmark.visualization.uncertainty import plot_coverage

    report = _coverage_report()
    curves = {key: report.curve[key] for key in ("radii", "regions")}
    return plot_coverage(report.curve["nominal"], curves, path)


def save_label_rounds(path: Path) -> Path:
    """Save the true errors of pseudo labels of the study with few annotated images."""
    from mmlandmark.visualization.label_figure import plot_label_errors

    return plot_label_errors(read_json(Path(__file__).parent / "self_training" / "label_rounds.json"), path)


def save_annotation_curve(path: Path) -> Path:
    """Save what further annotated films are worth, by the records of the study with one annotated film."""
    from mmlandmark.visualization.annotation_curve import plot_annotation_curve

    results = Path(__file__).parents[1] / "configs" / "one_shot" / "results" / "films1_isbi2015_320x256_cpu"
    methods = {
        "CC2D, template": {1: "cc2d-64", 3: "cc2d-64_shots3", 5: "cc2d-64_shots5", 10: "cc2d-64_shots10"},
        "supervised": {count: f"supervised_shots{count}" for count in (1, 3, 5, 10)},
        "adapters, template": {1: "c-adapter"},
        "student of three": {1: "student-of-three"},
    }
    records = {
        method: {count: results / f"{arm}_seed0.json" for count, arm in arms.items()}
        for method, arms in methods.items()
    }
    known = {
        method: {count: read_json(file)["metrics"] for count, file in files.items() if file.is_file()}
        for method, files in records.items()
    }
    return plot_annotation_curve(
        {method: curve for method, curve in known.items() if curve}, path, ("mre", "sdr_2mm")
    )


def save_landmark_curves(path: Path) -> Path:
    """Save how three landmarks are learnt together and by models of their own, in the same study."""
    from mmlandmark.visualization.landmark_curves import plot_landmark_curves

    return plot_landmark_curves(read_json(Path(__file__).parent / "one_shot" / "landmark_curves.json"), path)


def save_flags(path: Path) -> Path:
    """Save how many errors of that report are found by looking at the most doubtful points."""
    from mmlandmark.visualization.uncertainty import plot_flags

    report = _coverage_report()
    what = f"errors > {report.flags['limit']:.3g} {report.unit}"
    curves = {"most doubtful first": report.flags["caught_at"]}
    return plot_flags(report.flags["looked_at"], curves, path, what=what, rate=report.flags["flagged"])


def save_memory(path: Path) -> Path:
    """Save memory against the size of volumes, as on record on the page on large volumes."""
    from mmlandmark.visualization.memory_figure import plot_memory

    return plot_memory(read_json(Path(__file__).parent / "benchmarks" / "memory_cpu.json"), path)


def save_shape_modes(path: Path) -> Path:
    """Save mean and modes of the shapes of phantoms."""
    from mmlandmark.datasets import PhantomDataset
    from mmlandmark.engine.physical_shapes import physical_shapes
    from mmlandmark.shape import PointDistributionModel
    from mmlandmark.visualization.shape_modes import plot_modes

    dataset = PhantomDataset("ceph", num_samples=200)
    points, unit = physical_shapes(dataset)
    return plot_modes(PointDistributionModel.fit(points), path, links=dataset.metainfo["links"], unit=unit)


def save_abnormal(path: Path) -> Path:
    """Save how many landmarks of hands are taken for wrong, as on record on the page on shapes."""
    from mmlandmark.visualization.abnormal_figure import plot_abnormal

    return plot_abnormal(read_json(Path(__file__).parent / "shapes" / "abnormal.json"), path, "hands")


def _coverage_report() -> Any:
    from mmlandmark.evaluation import CoverageReport

    return CoverageReport.read(Path(__file__).parent / "coverage" / "isbi2015_test1.json")


def _box(left: float, width: float, shade: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left, 0), width, 1, facecolor=str(shade), edgecolor="#aaaaaa", linewidth=0.8)


def side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Return (H, W, 3) uint8 pictures of one height in a row, on white."""
    gap = np.full((len(pictures[0]), GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (gap, picture)][1:], axis=1)


def save_picture(picture: np.ndarray, path: Path) -> Path:
    """Save an (H, W, 3) uint8 picture as a PNG of 256 colours, which is small enough for a repository."""
    from PIL import Image

    from mmlandmark.utils.files import atomic_path

    reduced = Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        reduced.save(temporary, format="PNG", optimize=True)
    return path


if __name__ == "__main__":
    run_and_exit(main)
