"""A patch that is shared is applied once and undone by the last to leave."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from mmlandmark.utils.patching import SharedPatch


@pytest.fixture
def log():
    return []


@pytest.fixture
def patch(log):
    @SharedPatch
    @contextmanager
    def patch():
        """Note when it is applied and undone."""
        log.append("applied")
        try:
            yield
        finally:
            log.append("undone")

    return patch


def test_users_may_overlap_in_any_order(patch, log):
    patch.__enter__()
    patch.__enter__()
    patch.__exit__(None, None, None)  # the first to enter leaves first
    assert log == ["applied"]
    patch.__exit__(None, None, None)
    assert log == ["applied", "undone"]
    with patch:
        assert log[2:] == ["applied"]
    assert log[2:] == ["applied", "undone"]


def test_an_error_undoes_it_and_passes(patch, log):
    with pytest.raises(KeyError, match="mine"), patch:
        raise KeyError("mine")
    assert log == ["applied", "undone"]


def test_it_decorates(patch, log):
    @patch
    def state(more):
        """Return what has happened so far."""
        return [*log, more]

    assert state("inside") == ["applied", "inside"]
    assert state.__doc__ == "Return what has happened so far."
    assert log == ["applied", "undone"]


def test_a_patch_that_cannot_be_applied_has_no_user(log):
    @SharedPatch
    @contextmanager
    def patch():
        log.append("tried")
        if len(log) == 1:
            raise OSError("not now")
        yield

    with pytest.raises(OSError, match="not now"):
        patch.__enter__()
    with patch:
        assert log == ["tried", "tried"]
