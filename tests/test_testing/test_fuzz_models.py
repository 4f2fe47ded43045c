"""The model file, checkpoint and configs of the fuzzer are valid, and a hash guards the first two."""

from __future__ import annotations

import pytest

from mmlandmark.testing.fuzz_case import Input, attempt
from mmlandmark.testing.fuzz_models import model_cases


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return root, {case.name: case for case in model_cases(root)}


def test_all_are_valid(made):
    root, cases = made
    answers = {name: case.read(case.place(root)) for name, case in cases.items()}
    names = {"model", "checkpoint", "run_config", "config_json", "config_yaml", "sweep"}
    assert set(answers) - {"weights"} == names  # weights in HDF5 need a package
    assert answers["model"] is not None
    assert answers["checkpoint"] is not None


def test_weights_in_hdf5_are_there_and_a_damaged_tree_is_refused(made):
    pytest.importorskip("h5py")
    root, cases = made
    case = cases["weights"]
    assert {name for name, *_ in case.read(case.place(root))} == {
        "conv/vars/0", "conv/vars/1", "dense/vars/0",
    }  # fmt: skip
    data = (case.place(root) / case.target).read_bytes()
    at = data.index(b"SNOD")
    outcome = attempt(case, root, Input(data[:at] + b"none" + data[at + 4 :], ("bytes",)))
    assert (outcome.end, "it is damaged" in outcome.message) == ("refused", True)


@pytest.mark.parametrize("name", ["model", "checkpoint"])
def test_a_change_behind_the_hash_is_read_or_refused_by_what_it_is(made, name):
    root, cases = made
    case = cases[name]
    take_out, put_back = case.inside
    data = (case.place(root) / case.target).read_bytes()
    assert put_back(take_out(data)) == data
    at = data.index(b"\x80\x02}")  # the first instructions of the pickle
    changed = data[: at + 2] + b"\xff" + data[at + 3 :]
    outcome = attempt(case, root, Input(changed, ("bytes",)))
    assert "SHA-256 is not the one" in outcome.message
    outcome = attempt(case, root, Input(put_back(take_out(changed)), ("inside", "bytes")))
    assert outcome.end == "refused"
    assert "SHA-256" not in outcome.message
