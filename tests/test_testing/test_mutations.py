"""Changes depend on the seed alone, are of every kind, and can be put behind checksums."""

from __future__ import annotations

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from mmlandmark.testing import mutations
from mmlandmark.testing.mutations import gunzipped, gzipped, mutate, with_png_checksums

TEXT = b'{"samples": [{"id": "a", "landmarks": [[1, 2]]}]}\n'
ALL = {"flip", "bytes", "extreme", "cut", "drop", "turn", "insert", "repeat", "splice"}
OF_TEXT = {"token", "lines", "nest", "json", "encoding"}


def changed(data, count, **kwargs):
    return [mutate(data, np.random.default_rng((0, n)), **kwargs) for n in range(count)]


def test_changes_depend_on_the_seed_only_and_change_something():
    found = changed(TEXT, 300, text=True)
    assert found == changed(TEXT, 300, text=True)
    assert sum(data != TEXT for data, _ in found) > 250
    assert len({data for data, _ in found}) > 200
    assert all(1 <= len(names) <= 3 for _, names in found)


@pytest.mark.parametrize(("text", "kinds"), [(False, ALL), (True, ALL | OF_TEXT)])
def test_all_kinds_of_changes_occur(text, kinds):
    counts = Counter(name for _, names in changed(TEXT, 400, text=text) for name in names)
    assert set(counts) == kinds
    assert min(counts.values()) > 10


def test_the_content_decides_nothing_and_may_be_empty():
    assert len(changed(b"", 200, text=True)) == 200
    deep = b"[" * 5000 + b"]" * 5000
    assert len(changed(deep, 100, text=True)) == 100


def test_numbers_become_extreme_in_either_byte_order():
    found = [mutations._extreme(bytes(64), np.random.default_rng(n)) for n in range(300)]
    assert all(len(data) == 64 for data in found)
    whole = b"".join(found)
    for number in (0x7FFFFFFF, 100_000):
        assert number.to_bytes(4, "little") in whole
        assert number.to_bytes(4, "big") in whole
    assert mutations._extreme(b"", np.random.default_rng(0)) == b""


def test_splices_take_the_end_of_another_file():
    ends = [data for data, names in changed(b"a" * 30, 400, others=[b"b" * 30]) if names == ("splice",)]
    assert any(data.startswith(b"a") and data.endswith(b"b") for data in ends)


def test_values_of_json_change_their_type():
    found = [json.loads(mutations._json(TEXT, np.random.default_rng(n))) for n in range(200)]
    assert any(not isinstance(content.get("samples", []), list) for content in found)
    assert any("samples" not in content for content in found)


def test_a_changed_png_gets_the_checksums_of_its_content():
    data = cv2.imencode(".png", np.full((5, 7), 3, np.uint8))[1].tobytes()
    assert with_png_checksums(data) == data
    wider = bytearray(data)
    wider[19] = 9
    assert with_png_checksums(bytes(wider))[29:33] != data[29:33]
    assert with_png_checksums(data[:40])[:33] == data[:33]
    assert with_png_checksums(b"") == b""


def test_gzip_there_and_back_is_the_same_every_time():
    assert gunzipped(gzipped(TEXT)) == TEXT
    assert gzipped(TEXT) == gzipped(TEXT)
