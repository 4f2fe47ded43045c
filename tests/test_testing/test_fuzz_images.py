"""The images of the fuzzer are valid, the same in every call, and of all formats."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.testing import fuzz_images
from mmlandmark.testing.fuzz_case import Input, Nonsense, attempt
from mmlandmark.testing.fuzz_images import check_image, image_cases


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pytest.importorskip("SimpleITK")
    pytest.importorskip("nibabel")
    pytest.importorskip("pydicom")
    root = tmp_path_factory.mktemp("images")
    return root, image_cases(root)


def test_every_format_is_there_and_valid(made):
    root, cases = made
    assert {case.format for case in cases} == {
        "JPEG", "PNG", "BMP", "TIFF", "MHA", "MHD", "NRRD", "NIfTI", "NIfTI.gz", "npy", "DICOM",
        "PGM", "PPM", "WebP",
    }  # fmt: skip
    answers = {case.name: case.read(case.place(root)) for case in cases}
    volumes = {answers[name][:3] for name in answers if answers[name][1] == (4, 6, 5)}
    assert len(volumes) == 2, "npy has no directions, the others are reordered alike"
    assert [case.name for case in cases if case.sealed] == ["gray_png", "deep_png", "packed_nii_gz"]


def test_the_files_are_the_same_in_every_call(made, tmp_path):
    root, cases = made
    for case, other in zip(cases, image_cases(tmp_path), strict=True):
        assert (case.place(root) / case.target).read_bytes() == (
            other.place(tmp_path) / other.target
        ).read_bytes(), case.name


def test_a_file_that_is_cut_is_refused_or_lacks_nothing(made):
    root, cases = made
    for case in cases:
        data = (case.place(root) / case.target).read_bytes()
        known = {case.read(case.place(root))}
        for share in (0.02, 0.3, 0.6, 0.95):
            outcome = attempt(case, root, Input(data[: int(share * len(data))], ("cut",)), known)
            assert outcome.end == "refused", (case.name, share, outcome)


def test_changes_go_behind_checksums(made):
    root, cases = made
    for case in cases:
        if case.inside is not None:
            take_out, put_back = case.inside
            data = (case.place(root) / case.target).read_bytes()
            assert put_back(take_out(data)) == data, case.name


def test_nonsense_is_told(made, monkeypatch):
    root, _ = made
    monkeypatch.setattr(fuzz_images, "image_shape", lambda path: (1, 2))
    with pytest.raises(Nonsense, match=r"the header says \(1, 2\), the image \(4, 6, 5\)"):
        check_image(root / "plain_npy", "plain.npy")
    monkeypatch.undo()
    monkeypatch.setattr(fuzz_images, "image_frame", lambda path: np.eye(4))
    with pytest.raises(Nonsense, match="the frame is"):
        check_image(root / "plain_mha", "plain.mha")
