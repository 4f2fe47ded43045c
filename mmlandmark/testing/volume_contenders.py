"""Ways from a volume on disk to an augmented patch: ours, by hand in PyTorch, MONAI, TorchIO.

All do the same: read a NIfTI file, resample it to 1 mm, rotate and scale it about its centre, cut a patch out
of its middle. The sides of the volumes are chosen so that every package makes the same grid of 1 mm.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from mmlandmark.datasets.image_cache import ImageCache
from mmlandmark.datasets.transforms import CenterCrop, LoadImage, Resample, ResampleSpacing
from mmlandmark.datasets.transforms.frame import frame_size, move_frame
from mmlandmark.datasets.transforms.intensity import gaussian_blur
from mmlandmark.structures import frame_center, rotation_matrix, scale_matrix
from mmlandmark.testing.volume_files import write_nifti

SPACING = (0.75, 0.75, 1.5)  # mm, of the files
Kept: TypeAlias = Literal["nothing", "volumes"]


@dataclass(frozen=True)
class Motion:
    """A random affine transform, the same for all.

    Attributes:
        degrees: Rotation about the patient's axes x, y, z (LPS), in this order.
        factor: Scale.
    """

    degrees: tuple[float, float, float]
    factor: float

    def linear(self) -> np.ndarray:
        """Return the rotation (3, 3)."""
        return rotation_matrix(self.degrees, (0, 0, 0))[:3, :3]


# From a file and the motion to a patch (Z, Y, X).
Way: TypeAlias = Callable[[Path, Motion], np.ndarray]


def draw_motions(count: int, seed: int = 0) -> list[Motion]:
    """Return random motions: up to 15 degrees about each axis, 10 % of scale."""
    rng = np.random.default_rng(seed)
    return [
        Motion(tuple(rng.uniform(-15, 15, 3).tolist()), float(rng.uniform(0.9, 1.1))) for _ in range(count)
    ]


def write_volumes(folder: Path, count: int, side: int, suffix: str) -> list[Path]:
    """Write smooth random volumes of (side // 2 + 1, side, side) voxels, int16, as NIfTI.

    Args:
        folder: Where to.
        count: How many.
        side: Along x and y; one more than a multiple of 8, so that all packages make the same grid.
        suffix: ``.nii`` or ``.nii.gz``.

    Raises:
        ValueError: The side is another one.
    """
    if side < 9 or side % 8 != 1:
        raise ValueError(f"the side must be one more than a multiple of 8, got {side}")
    paths = []
    for index in range(count):
        noise = np.random.default_rng(index).standard_normal((side // 2 + 1, side, side), dtype=np.float32)
        smooth = gaussian_blur(noise, 4.0, 3)
        values = np.clip(1000 + 300 * smooth / smooth.std(), 0, 2000).astype(np.int16)
        paths.append(write_nifti(folder / f"volume_{index}{suffix}", values, np.diag([*SPACING, 1.0])))
    return paths


def volume_ways(patch: int, kept: Kept) -> dict[str, Way]:
    """Return the ways of the installed packages, by name; ours is the first.

    Args:
        patch: Side of the patch.
        kept: What the memory keeps of a file after its first use: nothing, or all that does not depend on the
            motion: with us the decoded volume, with the others also that of 1 mm.
    """
    ways = {"mmlandmark": _ours(patch, kept), "nibabel + grid_sample, by hand": _by_hand(patch, kept)}
    if importlib.util.find_spec("monai"):
        ways["MONAI, lazy"] = _monai(patch, kept, lazy=True)
        ways["MONAI"] = _monai(patch, kept, lazy=False)
    if importlib.util.find_spec("torchio"):
        ways["TorchIO"] = _torchio(patch, kept)
    return ways


def _remembered(make: Callable[[Path], Any], kept: Kept) -> Callable[[Path], Any]:
    memory: dict[Path, Any] = {}

    def get(path: Path) -> Any:
        if path not in memory:
            memory[path] = make(path)
        return memory[path]

    return make if kept == "nothing" else get


def _ours(patch: int, kept: Kept) -> Way:
    load, spacing, crop = LoadImage(), ResampleSpacing(1.0), CenterCrop((patch,) * 3)
    read, cache = Resample(), None if kept == "nothing" else ImageCache("ram", max_gb=1.0)

    def run(path: Path, motion: Motion) -> np.ndarray:
        results = spacing(load(dict(sample_id=path.name, img_path=path, image_cache=cache)))
        # What RandomAffine does in a frame whose axes are the patient's, with this draw.
        center = frame_center(frame_size(results, crop))
        step = scale_matrix(motion.factor, center) @ rotation_matrix(motion.degrees, center)
        return read(crop(move_frame(results, step)))["img"]

    return run


def _by_hand(patch: int, kept: Kept) -> Way:
    import nibabel

    def load(path: Path) -> tuple[torch.Tensor, np.ndarray]:
        image: Any = nibabel.load(path)
        array = np.ascontiguousarray(image.get_fdata(dtype=np.float32).transpose())
        return torch.from_numpy(array)[None, None], np.abs(np.diag(image.affine)[:3])

    get = _remembered(load, kept)

    def run(path: Path, motion: Motion) -> np.ndarray:
        volume, spacing = get(path)
        sides = np.array(volume.shape[:1:-1])
        # From the normalised patch to mm about the centre, back through the motion, to the normalised volume.
        linear = motion.linear().T / motion.factor * (patch / 2)
        theta = linear / (sides * spacing / 2)[:, None]
        # The middle of the patch is half a voxel off that of the grid where one side is odd and one even.
        grid_sides = np.round((sides - 1) * spacing) + 1
        middle = (grid_sides - patch) // 2 + (patch - 1) / 2 - (grid_sides - 1) / 2
        shift = (motion.linear().T / motion.factor) @ middle / (sides * spacing / 2)
        matrix = torch.from_numpy(np.column_stack([theta, shift])).float()[None]
        grid = F.affine_grid(matrix, [1, 1, patch, patch, patch], align_corners=False)
        return F.grid_sample(volume, grid, align_corners=False)[0, 0].numpy()

    return run


def _monai(patch: int, kept: Kept, lazy: bool) -> Way:
    from monai import transforms

    first = [
        transforms.LoadImage(image_only=True, ensure_channel_first=True),
        transforms.Spacing(pixdim=(1.0, 1.0, 1.0), mode="bilinear"),
    ]
    prepare = _remembered(transforms.Compose(first), kept)

    def run(path: Path, motion: Motion) -> np.ndarray:
        # It maps pixels of the result to those of the image, with a rotation Rx Ry Rz.
        angles = Rotation.from_matrix(motion.linear().T).as_euler("XYZ").tolist()
        zoom = 1 / motion.factor - 1
        moved = transforms.RandAffine(
            prob=1.0, rotate_range=[(a, a) for a in angles], scale_range=[(zoom, zoom)] * 3,
            mode="bilinear", padding_mode="zeros",
        )  # fmt: skip
        sides = np.round((np.array(_sides(path)) - 1) * SPACING) + 1
        start = ((sides - patch) // 2).astype(int)
        crop = transforms.SpatialCrop(roi_start=start, roi_end=start + patch)
        if kept == "nothing":
            result = transforms.Compose([*first, moved, crop], lazy=lazy)(str(path))
        else:
            result = transforms.Compose([moved, crop], lazy=lazy)(prepare(path))
        return np.asarray(result)[0].transpose(2, 1, 0)

    return run


def _torchio(patch: int, kept: Kept) -> Way:
    import SimpleITK
    import torchio

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(torch.get_num_threads())

    def load(path: Path) -> Any:
        sides = (np.round((np.array(_sides(path)) - 1) * SPACING) + 1).astype(int)
        grid = torchio.Resample((tuple(sides.tolist()), np.diag([-1.0, -1.0, 1.0, 1.0])))
        return grid(torchio.ScalarImage(path)), sides

    get = _remembered(load, kept)

    def run(path: Path, motion: Motion) -> np.ndarray:
        image, sides = get(path)
        to_ras = np.diag([-1.0, -1.0, 1.0])
        z, x, y = Rotation.from_matrix(to_ras @ motion.linear() @ to_ras).as_euler("ZXY", degrees=True)
        before = ((sides - patch) // 2).tolist()
        after = (sides - patch - before).tolist()
        moved = torchio.Affine(
            scales=(motion.factor,) * 3, degrees=(x, y, z), translation=(0, 0, 0), center="image"
        )
        crop = torchio.Crop([side for pair in zip(before, after, strict=True) for side in pair])
        return crop(moved(image)).data[0].numpy().transpose(2, 1, 0)

    return run


def _sides(path: Path) -> Sequence[int]:
    """Return the (x, y, z) sides of a file by its header."""
    import nibabel

    image: Any = nibabel.load(path)
    return image.shape
