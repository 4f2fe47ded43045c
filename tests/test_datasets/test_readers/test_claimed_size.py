"""One rule about the number of pixels that a header claims, and how a user changes it."""

from __future__ import annotations

import pytest

from mmlandmark.datasets.readers import claimed_size
from mmlandmark.datasets.readers.claimed_size import MAX_PIXELS, SMALL, VARIABLE, TooLarge, check_claim


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_a_small_image_may_be_in_a_file_of_any_size():
    check_claim((8192, 8192), 1, held=10)
    with pytest.raises(TooLarge, match="8,193 x 8,192 pixels of 67,117,056 bytes, which a file of 10 "):
        check_claim((8193, 8192), 1, held=10)
    with pytest.raises(TooLarge, match="cannot hold, so it is cut off or damaged"):
        check_claim((8192, 8192), 2, held=10)


@pytest.mark.parametrize(("packed", "held"), [(True, 2 * SMALL // 4096), (False, 2 * SMALL)])
def test_a_larger_one_needs_a_file_that_can_hold_it(packed, held):
    check_claim((128, 1024, 1024), 1, held, packed)
    with pytest.raises(TooLarge, match="128 x 1,024 x 1,024 pixels"):
        check_claim((128, 1024, 1024), 1, held - 1, packed)
    check_claim((128, 1024, 1024), 1, None, packed)  # the pixels are in several files


def test_the_number_of_pixels_is_limited_whatever_the_file_holds():
    check_claim((1 << 16, 1 << 15), 1, held=MAX_PIXELS)
    with pytest.raises(TooLarge, match="100,000 x 100,000 pixels, more than the 2,147,483,648 allowed"):
        check_claim((100_000, 100_000), 1, held=10**10)
    with pytest.raises(TooLarge, match=f"set {VARIABLE}=10000000000 in the environment"):
        check_claim((100_000, 100_000), 1, held=None)


def test_the_user_has_the_last_word(monkeypatch):
    monkeypatch.setenv(VARIABLE, "10_000_000_000")
    check_claim((100_000, 100_000), 8, held=10)
    with pytest.raises(TooLarge, match="more than the 10,000,000,000 allowed"):
        check_claim((100_000, 100_001), 1, held=10**11)
    monkeypatch.setenv(VARIABLE, "100")
    check_claim((10, 10), 1, held=1)
    with pytest.raises(TooLarge, match="claims 10 x 11 pixels, more than the 100 allowed"):
        check_claim((10, 11), 1, held=1000)


@pytest.mark.parametrize("text", ["many", "1e9", "-1", "0", "1.5"])
def test_a_limit_that_is_no_number_is_said(monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=f"{VARIABLE}='{text}' in the environment is not a number of pixels"):
        check_claim((1, 1), 1, held=1)
    monkeypatch.setenv(VARIABLE, " ")
    assert claimed_size.allowed_pixels() is None
