"""Errors of libraries become the end of one sentence."""

from __future__ import annotations

import pytest

from mmlandmark.utils.sentences import in_one_sentence, one_line, reason_of

ITK = "Exception thrown in SimpleITK ImageFileReader_Execute: /tmp/SimpleITK-build/itkNrrdImageIO.cxx:410:\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n  b\tc"), "a b c"),
        (KeyError("name"), "name"),
        (MemoryError(), "MemoryError"),
        (ValueError("x" * 50), "x" * 17 + "..."),
    ],
)
def test_one_line(error, line):
    assert one_line(error, 20) == line


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError(f"{ITK}itk::ERROR: a.nrrd:\n[nrrd] nrrdRead: trouble\n[nrrd] _read: cut off\n"),
            "cut off",
        ),
        (RuntimeError(f"{ITK}itk::ERROR: a.nrrd:\n[nrrd] _nrrdGzRead: "), "it is broken"),
        (RuntimeError(f"{ITK}ITK ERROR: File cannot be read: a.mha\nReason: Success"), "ITK cannot read it"),
        (
            RuntimeError("OpenCV(4.9) /io/a.cpp:7: error: (-215:Assertion failed) pixels <= MAX\n"),
            "pixels <= MAX",
        ),
        (MemoryError(), "there is not enough memory for it"),
        (EOFError(), "EOFError"),
        (KeyError("DimSize"), "'DimSize' is missing"),
        (ValueError("the end\nis missing"), "the end is missing"),
    ],
)
def test_reasons_of_libraries(error, reason):
    assert reason_of(error) == reason


def test_a_function_raises_one_sentence():
    @in_one_sentence
    def fail(text):
        raise ValueError(text)

    with pytest.raises(ValueError, match=r"^a\.json: wrong$"):
        fail("a.json: wrong")
    with pytest.raises(ValueError, match=r"^a\.json: x+\.\.\.$") as long:
        fail("a.json: " + "x" * 5000)
    assert len(str(long.value)) == 1000
    with pytest.raises(ValueError, match=r"^a\.json: one two$"):
        fail("a.json: one\ntwo")
