"""The shards of the fuzzer are valid, and what they hold is guarded by hashes."""

from __future__ import annotations

import importlib.util

import pytest

from mmlandmark.testing.fuzz_case import Input, attempt
from mmlandmark.testing.fuzz_shards import shard_cases

KINDS = ["tar"] + ["lmdb"] * (importlib.util.find_spec("lmdb") is not None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    return root, {case.name: case for case in shard_cases(root)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_is_read_as_it_was_written_or_refused(made, kind):
    root, cases = made
    assert set(cases) == {f"{what}_{kind}" for kind in KINDS for what in ("index", "shard")}
    case = cases[f"shard_{kind}"]
    known = {case.read(case.place(root))}
    assert known == {cases[f"index_{kind}"].read(cases[f"index_{kind}"].place(root))}
    data = (case.place(root) / case.target).read_bytes()
    at = data.index(b"IDAT")
    for changed in (data[:at] + b"idat" + data[at + 4 :], data[: len(data) // 2], b""):
        outcome = attempt(case, root, Input(changed, ("cut",)), known)
        assert outcome.end == "refused"
        assert case.target in outcome.message


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_lies_is_refused(made, kind):
    root, cases = made
    case = cases[f"index_{kind}"]
    text = (case.place(root) / case.target).read_text(encoding="utf-8")
    lies = {'"count": ': '"count": 1', '"sha256": "': '"sha256": "0', '"name": "': '"name": "../'}
    for old, new in lies.items():
        assert old in text
        outcome = attempt(case, root, Input(text.replace(old, new).encode(), ("token",)))
        assert outcome.end == "refused", (old, outcome)
