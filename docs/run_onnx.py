"""Landmarks of images by an exported detector: needs numpy, opencv-python and onnxruntime, not mmlandmark.

python run_onnx.py my_detector.onnx film1.png film2.jpg     prints file, landmark, x, y and score
"""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

# The steps that prepare an image, with the options that this program follows, or that change no pixel here.
KNOWN = {
    "LoadImage": {"size", "keep_aspect", "channels", "value_range", "bits", "file_spacing", "fill_value"},
    "Resize": {"size", "keep_aspect"},
    "Resample": {"interpolation", "border", "border_value"},
    "PackInputs": {"meta_keys"},
}
# The entry "orientation" of Exif, in both orders of bytes, with a value that turns or mirrors the image.
TURNED = re.compile(rb"(?:\x12\x01\x03\0\x01\0\0\0|\x01\x12\0\x03\0\0\0\x01\0)([\x02-\x08])", re.DOTALL)


def check(pipeline):
    """End the program if the detector wants images prepared in a way that it does not know."""
    kinds = [step["type"] for step in pipeline]
    if kinds != list(KNOWN) or len(pipeline[0].get("size") or ()) != 2:
        sys.exit(
            "this program knows LoadImage with a size (height, width), Resize, Resample and PackInputs; "
            f"the detector wants {kinds}"
        )
    for step in pipeline:
        if unknown := sorted(step.keys() - KNOWN[step["type"]] - {"type"}):
            sys.exit(f"this program does not know what {step['type']} does with {', '.join(unknown)}")


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


def upright(image, orientation):
    """Return the image as viewers show it by its Exif orientation, and the matrix from stored pixels."""
    matrix = np.eye(3)
    if orientation > 4:  # rows are columns
        image, matrix = image.swapaxes(0, 1), matrix[[1, 0, 2]]
    for axis, turned in ((1, (2, 3, 6, 7)), (0, (3, 4, 7, 8))):
        if orientation in turned:
            image = np.flip(image, axis)
            matrix[1 - axis] = [0, 0, image.shape[axis] - 1] - matrix[1 - axis]
    return np.ascontiguousarray(image), matrix


def read(path, size):
    """Return the pixels of a file, the matrix that leads to them, and the shape in the file."""
    data = Path(path).read_bytes()
    jpeg = data.startswith(b"\xff\xd8\xff")
    if not jpeg and not data.startswith((b"\x89PNG", b"BM")):  # OpenCV turns and inverts some TIFF
        raise ValueError("this program reads PNG, JPEG and BMP")
    found = TURNED.search(data)
    orientation = found[1][0] if found else 1
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or (jpeg and b"\xff\xd9" not in data):
        raise ValueError("the image is broken")
    full, reduced = image.shape[:2], 1
    if jpeg:  # a large one is decoded at 1/2, 1/4 or 1/8 of its size
        room = min(np.divide(full, size[::-1] if orientation > 4 else size)) / 1.5
        reduced = max((n for n in (2, 4, 8) if n <= room), default=1)
    if reduced > 1:
        flags = (8 * reduced + (image.ndim == 3)) | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    image, turn = upright(image, orientation)
    return image, turn @ scaling(1 / reduced, 1 / reduced), full


def resampled(image, factors, before, shape, options, black):
    """Return the pixels of a frame (height, width), into which the image is scaled and moved."""
    kind = options.get("interpolation", "linear")
    blocks = [1 if kind == "nearest" else max(1, int(np.ceil(0.5 / f - 1e-6))) for f in factors]
    if max(blocks) > 1:  # whole blocks are averaged before an image is read at less than half its size
        more = [-n % block for n, block in zip(image.shape, blocks, strict=False)]
        image = cv2.copyMakeBorder(image, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)
        image = resized(image, np.floor_divide(image.shape[:2], blocks).tolist())
    value = options.get("border_value")
    return cv2.warpAffine(
        image,
        (scaling(*factors, before) @ scaling(*blocks))[:2],
        shape[::-1],
        flags=getattr(cv2, f"INTER_{kind.upper()}"),
        borderMode=getattr(cv2, f"BORDER_{options.get('border', 'constant').upper()}"),
        borderValue=[black if value is None else value] * 4,
    )


def prepare(path, about):
    """Return pixels (channels, height, width), the matrix that leads to them from the file, and its shape."""
    load, resize, resample = about["pipeline"][:3]
    image, matrix, full = read(path, load["size"])
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
    white = min(np.iinfo(image.dtype).max, 2 ** (load.get("bits") or 32) - 1)
    black, white = load.get("value_range") or (0, white)
    image = resampled(image, factors, before, shape, resample, black)
    pixels = np.float32(image - np.float32(black)) / np.float32(white - black)
    planes = pixels[..., 2::-1].transpose(2, 0, 1) if channels == 3 and colour else pixels[None]
    pixels = np.ascontiguousarray(np.broadcast_to(planes, (channels, *shape)))
    return pixels, scaling(*factors, before) @ matrix, full


def main(model, *images):
    """Print the landmarks of images; return how the program ends, 1 if an image could not be read."""
    about = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
    check(about["pipeline"])
    session, names, failed = onnxruntime.InferenceSession(model), list(about["outputs"]), 0
    for path in images:
        try:
            pixels, matrix, full = prepare(path, about)
        except (OSError, ValueError, cv2.error) as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = 1
            continue
        said = dict(zip(names, session.run(names, {about["input"]["name"]: pixels[None]}), strict=True))
        presence, back = said.get("presence", np.ones_like(said["scores"])), np.linalg.inv(matrix)
        for k, name in enumerate(about["landmarks"]):
            (x, y), score = back[:2, :2] @ said["points"][0, k] + back[:2, 2], said["scores"][0, k]
            inside = -0.5 <= x <= full[1] - 0.5 and -0.5 <= y <= full[0] - 0.5
            if not inside or presence[0, k] < 0.5:  # no guess of what the image does not show
                x, y, score = np.nan, np.nan, 0
            print(path, name, f"{x:.3f}", f"{y:.3f}", f"{score:.3f}", sep="\t")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
