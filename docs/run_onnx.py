"""Landmarks of images by an exported detector: needs numpy, opencv-python and onnxruntime, not mmlandmark.

python run_onnx.py my_detector.onnx film1.png film2.jpg     prints file, landmark, x, y and score
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime


def scaling(y, x, before=(0, 0)):
    """Return the matrix of a resize, with pixels before the image; centres of pixels are whole numbers."""
    return np.array([[x, 0, x / 2 - 0.5 + before[1]], [0, y, y / 2 - 0.5 + before[0]], [0, 0, 1]])


def resized(image, size):
    """Return the image at another size (height, width): mean over areas where it shrinks, else linear."""
    (old_y, old_x), (y, x) = image.shape[:2], size
    if (y - old_y) * (x - old_x) < 0:  # one side grows and one shrinks
        image = resized(image, (y, old_x))
    shrinks = y < image.shape[0] or x < image.shape[1]
    return cv2.resize(image, (x, y), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def prepare(path, about):
    """Return pixels (channels, height, width), the matrix that leads to them from the file, and its shape."""
    load, resize = about["pipeline"][:2]
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    matrix, reduced, full = np.eye(3), 1, image.shape[:2]
    if path.lower().endswith((".jpg", ".jpeg")):  # a large one is decoded at 1/2, 1/4 or 1/8 of its size
        room = min(np.divide(full, load["size"])) / 1.5
        reduced = max((n for n in (2, 4, 8) if n <= room), default=1)
    if reduced > 1:
        image = cv2.imread(path, (8 * reduced + (image.ndim == 3)) | cv2.IMREAD_IGNORE_ORIENTATION)
        matrix = scaling(1 / reduced, 1 / reduced)
    old, size = np.array(image.shape[:2]), load["size"]
    if load.get("keep_aspect"):
        size = [max(1, round(min(np.divide(size, old)) * n)) for n in old.tolist()]
    image, matrix = resized(image, size), scaling(*np.divide(size, old)) @ matrix
    colour, (channels, *shape) = image.ndim == 3, about["input"]["shape"][1:]
    if channels == 1 and colour:
        image = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2GRAY)
    factors, before = np.divide(shape, size), (0, 0)
    if resize.get("keep_aspect"):
        factors = np.full(2, min(factors))
        before = np.floor((shape - factors * size) / 2 + 1e-6)
    step = scaling(*factors, before)
    black, white = load.get("value_range") or (
        0,
        min(np.iinfo(image.dtype).max, 2 ** load.get("bits", 32) - 1),
    )
    image = cv2.warpAffine(image, step[:2], shape[::-1], flags=cv2.INTER_LINEAR, borderValue=[black] * 4)
    pixels = np.float32(image - np.float32(black)) / np.float32(white - black)
    planes = pixels[..., 2::-1].transpose(2, 0, 1) if channels == 3 and colour else pixels[None]
    return np.ascontiguousarray(np.broadcast_to(planes, (channels, *shape))), step @ matrix, full


def main(model, *images):
    """Print the landmarks of images."""
    about = json.loads(Path(model).with_suffix(".json").read_text(encoding="utf-8"))
    kinds = [step["type"] for step in about["pipeline"]]
    if kinds != ["LoadImage", "Resize", "Resample", "PackInputs"] or not about["pipeline"][0].get("size"):
        sys.exit(f"this program knows LoadImage with a size, Resize and Resample; the detector wants {kinds}")
    session = onnxruntime.InferenceSession(model)
    for path in images:
        pixels, matrix, full = prepare(path, about)
        names = list(about["outputs"])
        said = dict(zip(names, session.run(names, {about["input"]["name"]: pixels[None]}), strict=True))
        presence, back = said.get("presence", np.ones_like(said["scores"])), np.linalg.inv(matrix)
        for k, name in enumerate(about["landmarks"]):
            (x, y), score = back[:2, :2] @ said["points"][0, k] + back[:2, 2], said["scores"][0, k]
            inside = -0.5 <= x <= full[1] - 0.5 and -0.5 <= y <= full[0] - 0.5
            if not inside or presence[0, k] < 0.5:  # no guess of what the image does not show
                x, y, score = np.nan, np.nan, 0
            print(path, name, f"{x:.3f}", f"{y:.3f}", f"{score:.3f}", sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
