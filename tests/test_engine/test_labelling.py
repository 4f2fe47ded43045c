"""Which images are labelled, and how a network looks at them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset

from mmlandmark.datasets import ImageFolderDataset
from mmlandmark.datasets.phantom.generate import render_phantom
from mmlandmark.engine.labelling import evaluating, unlabelled_parts
from test_datasets.six_cases import SCHEMA, build, write


@pytest.fixture
def root(tmp_path):
    return write(tmp_path)


def test_the_unlabelled_part_of_the_data_is_found(root):
    rest = build(root, split="test", unlabelled=True)
    assert unlabelled_parts(ConcatDataset([build(root, split="train"), rest])) == [rest]
    with pytest.raises(ValueError, match=r"no unlabelled images.*train_dataloader\.unlabelled"):
        unlabelled_parts(build(root))


def test_an_image_is_either_labelled_or_not(root):
    both = ConcatDataset([build(root, split="train"), build(root, unlabelled=True)])
    with pytest.raises(ValueError, match=r"sample 'case0' is twice in the training data"):
        unlabelled_parts(both)
    (root / "new").mkdir()
    cv2.imwrite(str(root / "new" / "copy.png"), np.full((20, 30), 40 * 3, np.uint8))
    folder = ImageFolderDataset("new", data_root=str(root), schema=SCHEMA, serialize_data=False)
    with pytest.raises(ValueError, match=r"same image is labelled and unlabelled: 'case3', 'copy'"):
        unlabelled_parts(ConcatDataset([build(root, split="train"), folder]))


def test_a_copy_in_another_format_is_the_same_image(root):
    (root / "new").mkdir()
    for n in range(6):
        picture = render_phantom("ceph", 0, n, (200, 160))[0]
        cv2.imwrite(str(root / "images" / f"case{n}.png"), picture)
        if n == 3:
            cv2.imwrite(str(root / "new" / "copy.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 40])
    folder = ImageFolderDataset("new", data_root=str(root), schema=SCHEMA, serialize_data=False)
    with pytest.raises(ValueError, match=r"same image is labelled and unlabelled: 'case3', 'copy'"):
        unlabelled_parts(ConcatDataset([build(root, split="train"), folder]))


def test_a_model_trains_afterwards_as_before():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    model[1].eval()
    with evaluating(model):
        assert not model[0].training
        assert not model[0](torch.ones(1, 2)).requires_grad
    assert [module.training for module in model.modules()] == [True, True, False]
