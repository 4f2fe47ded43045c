"""The state of a training is read as data; test_hostile_checkpoints.py tries every field."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.engine.training_state import (
    BrokenStateError,
    as_count,
    as_number,
    best_key,
    check_optimizer_state,
    is_best_name,
    read_bests,
    read_training_state,
)


def checkpoint(**changes):
    content = dict(
        meta=dict(epoch=2, iter=10, seed=3, validated=True, dataset_meta=dict(landmark_names=["a", "b"])),
        message_hub=dict(
            log_scalars={}, runtime_info=dict(mine=7, epoch=9, last_ckpt="../x.pth", best_score=1)
        ),
        optimizer=dict(state={}, param_groups=[]),
        hook_states=dict(CheckpointHook=dict(kept=[1])),
    )
    return content | changes


def test_what_a_resumed_run_reads():
    state = read_training_state(checkpoint(), "x.pth")
    assert (state.epoch, state.iter, state.seed, state.validated) == (2, 10, 3, True)
    assert state.landmark_names == ["a", "b"]
    assert state.info == dict(mine=7), "neither what the run sets anew nor paths"
    assert state.hooks == dict(CheckpointHook=dict(kept=[1]))
    assert state.source == "x.pth"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(meta=None), "holds weights, but not the state of a training .no meta."),
        (dict(optimizer=None), "holds no state of an optimiser"),
        (dict(meta=dict(epoch=1)), r"x\.pth cannot be resumed, it is broken: meta\.iter is missing"),
        (dict(meta=dict(epoch=1, iter=2**40)), r"meta\.iter is '1099511627776', no count"),
        (dict(meta=dict(epoch=True, iter=1)), r"meta\.epoch is 'True', no count"),
        (dict(hook_states=[1]), "hook_states is a list"),
        (dict(hook_states=dict(A=3)), r"hook_states\['A'\] is a int"),
        (dict(hook_states={3: {}}), "a key of hook_states is a int"),
    ],
)
def test_what_cannot_be_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        read_training_state(checkpoint(**changes), "x.pth")


def test_numbers_and_names():
    assert as_count(0, "n") == 0
    assert as_number(1, "n") == 1.0
    for value in (-1, 1.5, True, None, "1"):
        with pytest.raises(BrokenStateError, match=r"n is .*, no count"):
            as_count(value, "n")
    for value in (float("nan"), float("inf"), False, "1"):
        with pytest.raises(BrokenStateError, match=r"n is .*, no finite number"):
            as_number(value, "n")
    assert is_best_name("best_mre_epoch_1.pth")
    assert not any(map(is_best_name, ("../best_x.pth", "best_a/b.pth", "epoch_1.pth", 3, None)))
    assert best_key("pair15/mre") == "pair15_mre"


def test_best_checkpoints_are_files_of_the_folder():
    good = dict(mre=dict(file="best_mre_epoch_1.pth", score=1, step=1))
    assert read_bests(good)["mre"].score == 1.0
    for wrong in (dict(file="x.pth"), dict(score="1"), dict(step=-1)):
        with pytest.raises(BrokenStateError):
            read_bests(dict(mre=good["mre"] | wrong))


def test_momenta_belong_to_their_parameters():
    parameters = [torch.zeros(2, 3)]
    check_optimizer_state({0: dict(step=3, exp_avg=torch.zeros(2, 3))}, parameters, "x.pth")
    for state, message in (
        ({1: {}}, "an entry '1' for no parameter"),
        ({0: dict(exp_avg=torch.zeros(3, 2))}, r"has shape \(3, 2\) instead of \(2, 3\)"),
        ({0: dict(exp_avg=torch.full((2, 3), torch.nan))}, "is not finite"),
        ({0: dict(step=-1)}, "is -1.*, no count"),
    ):
        with pytest.raises(ValueError, match=message):
            check_optimizer_state(state, parameters, "x.pth")
