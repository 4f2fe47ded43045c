"""The images of a folder that nobody has annotated."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import ImageFolderDataset
from test_datasets.six_cases import SCHEMA

LABELLED = dict(type="LandmarkDataset", ann_file="all.json", image_dir="images", split="train")


def test_files_with_a_row_and_broken_ones_are_left_out(root, caplog):
    folder = root / "images"
    (folder / "more").mkdir()
    for name in ("more/case0.png", "new.png"):
        cv2.imwrite(str(folder / name), np.zeros((20, 30), np.uint8))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    # Those of another split have a row, too.
    dataset = ImageFolderDataset("images", data_root=str(root), labelled=dict(LABELLED, data_root=str(root)))
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [record["sample_id"] for record in records] == ["new", "more/case0"]
    assert dataset.unlabelled
    assert np.isnan(records[1]["landmarks"]).all()
    assert dataset.metainfo["landmark_names"] == list(SCHEMA["landmarks"])
    assert len(ImageFolderDataset("images", data_root=str(root), schema=SCHEMA)) == 8


def test_what_is_wrong_with_a_folder_is_said(root):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere'"):
        ImageFolderDataset("nowhere", data_root=str(root), schema=SCHEMA)
    labelled = dict(LABELLED, data_root=str(root))
    with pytest.raises(ValueError, match=r"holds no image without annotation; 6 are annotated"):
        ImageFolderDataset("images", data_root=str(root), labelled=labelled)
    with pytest.raises(ValueError, match=r"give schema="):
        ImageFolderDataset("images", data_root=str(root))
