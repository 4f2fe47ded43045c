"""Writes tiny copies of what releases look like on disk."""

import cv2
import numpy as np


def image(path, size=(24, 20), value=128):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mha":
        metaimage(path, np.full((1, *size), value, np.uint8))
    else:
        assert cv2.imwrite(str(path), np.full(size, value, np.uint8))


def metaimage(path, array, channels=1, compressed=False):
    size = array.shape[:3][::-1]
    header = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", f"CompressedData = {compressed}",
        f"DimSize = {' '.join(map(str, size))}", "ElementType = MET_UCHAR",
    ]  # fmt: skip
    header += [f"ElementNumberOfChannels = {channels}"] if channels > 1 else []
    path.write_bytes("\n".join([*header, "ElementDataFile = LOCAL\n"]).encode() + array.tobytes())


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def ids(dataset):
    return [record["sample_id"] for record in dataset]
