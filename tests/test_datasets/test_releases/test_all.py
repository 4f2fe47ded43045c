"""What all annotators of releases have in common."""

from __future__ import annotations

import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.releases import (
    Aariz,
    Afids,
    ClDetection2023,
    CocoKeypoints,
    DigitalHandAtlas,
    Isbi2015Cephalogram,
    MandibularMolars,
    NnLandmark,
    SpineAasce2019,
    TpsFile,
)


@pytest.mark.parametrize(
    "cls",
    [
        Aariz, Afids, ClDetection2023, CocoKeypoints, DigitalHandAtlas, Isbi2015Cephalogram, MandibularMolars,
        NnLandmark, SpineAasce2019, TpsFile,
    ],
)  # fmt: skip
def test_releases_fail_clearly_on_a_folder_that_does_not_exist(cls, tmp_path):
    assert issubclass(cls, LandmarkDataset)
    with pytest.raises(FileNotFoundError, match=r"data_root .* does not exist"):
        cls(data_root=str(tmp_path / "nowhere"))
