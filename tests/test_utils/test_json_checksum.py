"""A changed value in a file with a checksum is found; blanks and line ends may differ."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlandmark.utils.files import parse_json
from mmlandmark.utils.json_checksum import KEY, ChecksumError, with_checksum, without_checksum

TEXTS = st.text(st.sampled_from('aX0 :,{}[]"\\/\n\x00\u00fc\u2028\U0001f600\ud800'), max_size=6)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(TEXTS, PLAIN, max_size=5), st.sampled_from([None, 2]))
def test_what_is_written_is_read(content, indent):
    text = with_checksum(content, indent)
    assert list(json.loads(text))[-1] == KEY
    assert parse_json(text, "a.json") == content
    assert parse_json(text + "\n", "a.json") == content
    assert parse_json(json.dumps(json.loads(text), indent=7, ensure_ascii=False), "a.json") == content


def test_types_that_json_does_not_know_do_not_matter():
    text = with_checksum({1: (2, 3), None: True, 1.5: []})
    assert parse_json(text, "a.json") == {"1": [2, 3], "null": True, "1.5": []}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "content", [{}, dict(name="ART", metrics=dict(mre=2.5e-07, sdr=None), ids=["X", "\\L", "ü"], done=True)]
)
def test_no_flipped_bit_passes_in_silence(content, indent):
    whole, refused = with_checksum(content, indent).encode() + b"\n", 0
    for where in range(8 * len(whole)):
        data = bytearray(whole)
        data[where // 8] ^= 1 << where % 8
        try:
            found = parse_json(data.decode(), "a.json")
        except UnicodeDecodeError:
            found = None  # whoever reads bytes says so
        except ValueError:
            found = None
        assert found in (None, content), f"bit {where} changed what is read"
        refused += found is None
    assert refused > 7.5 * len(whole)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_text_that_was_cut_or_joined_is_refused(indent):
    text = with_checksum(dict(a=1, b=[2.5]), indent)
    for cut in range(1, len(text)):
        for part in (text[:-cut], text[cut:], text + text[:cut]):
            with pytest.raises(ValueError, match=r"a\.json"):
                parse_json(part, "a.json")


@pytest.mark.parametrize(
    ("old", "new"), [("2.5", "6.5"), ('"sha256"', '"sha25v"'), ("mmlandmark-", "mmlandmarj-"), ("mre", "mrf")]
)
def test_the_key_itself_is_protected(old, new):
    text = with_checksum(dict(mre=2.5))
    with pytest.raises(ChecksumError, match="its SHA-256 is not the one that was written"):
        without_checksum(json.loads(text.replace(old, new)), text.replace(old, new))


def test_objects_of_others_are_left_as_they_are():
    nested = dict(a=dict(sha256="mmlandmark-sha256:0"))
    base = {"_base_": "mmlandmark::unet/unet_isbi2015_320x256_cpu.py"}
    for content in ([], {}, 3, dict(sha256="0" * 64), dict(sha256=None), nested, base):
        assert without_checksum(content, json.dumps(content)) is content


def test_the_key_is_taken():
    with pytest.raises(ValueError, match="'sha256' is that of the checksum"):
        with_checksum(dict(sha256="x"))
    with pytest.raises(ValueError, match="JSON compliant"):
        with_checksum(dict(a=float("nan")))


def test_large_files_cost_little():
    rng = random.Random(0)
    labels = {f"image_{n}": [[rng.random() * 999 for _ in range(40)]] for n in range(2000)}
    text = with_checksum(dict(images=labels))
    assert len(text) > 1 << 20, "several parts are hashed"
    began = time.process_time()
    plain = json.loads(text)
    read = time.process_time() - began
    began = time.process_time()
    assert without_checksum(plain, text) == dict(images=labels)
    assert time.process_time() - began < max(0.5 * read, 0.05)
