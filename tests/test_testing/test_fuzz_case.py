"""How reading a changed file may end, and what counts as a fault."""

from __future__ import annotations

import pytest

from mmlandmark.testing.fuzz_case import Case, Input, Nonsense, attempt, make_input

VALID = b"valid"


def ended(tmp_path, read, given=None, known=("right",), **options):
    """Attempt an input of one case."""
    (tmp_path / "one").mkdir(exist_ok=True)
    (tmp_path / "one" / "a.bin").write_bytes(VALID)
    case = Case("kind", "one", "a.bin", read, **options)
    outcome = attempt(case, tmp_path, given or Input(b"changed", ("flip",)), known)
    assert (tmp_path / "one" / "a.bin").read_bytes() == VALID
    return outcome


def raising(error):
    def read(folder):
        raise error

    return read


def caused(cause):
    error = ValueError(f"a.bin cannot be read: {cause}")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (TypeError("a.bin: no"), "traceback"),
        (OSError("a.bin: no"), "traceback"),
        (RecursionError("a.bin"), "traceback"),
        (ValueError("wrong"), "no file name"),
        (ValueError("a.bin: one line\nand another"), "no sentence"),
        (ValueError("a.bin: " + "x" * 2000), "no sentence"),
        (MemoryError(), "memory"),
        (caused(MemoryError()), "memory"),
        (caused(RuntimeError("std::bad_alloc")), "memory"),
        (Nonsense("two ids"), "silent"),
        (ValueError("a.bin: wrong"), "refused"),
        (FileNotFoundError("a.bin does not exist"), "refused"),
    ],
)
def test_errors(tmp_path, error, end):
    outcome = ended(tmp_path, raising(error))
    assert outcome.end == end
    assert outcome.is_fault == (end != "refused")
    assert str(error) in outcome.message


def test_the_changed_file_is_what_is_read(tmp_path):
    seen = []
    assert ended(tmp_path, lambda folder: seen.append((folder / "a.bin").read_bytes())).end == "read"
    assert seen == [b"changed"]


@pytest.mark.parametrize(
    ("answer", "changes", "options", "end"),
    [
        ("right", ("flip",), dict(sealed=True), "read"),
        ("wrong", ("flip",), dict(sealed=True), "silent"),
        ("wrong", ("inside", "flip"), dict(sealed=True), "read"),
        ("wrong", ("flip",), {}, "read"),
        ("wrong", ("cut",), {}, "silent"),
        ("wrong", ("inside", "cut", "cut"), {}, "silent"),
        ("wrong", ("cut", "flip"), {}, "read"),
        ("wrong", ("cut",), dict(text=True), "read"),  # fewer lines are another valid file
    ],
)
def test_wrong_answers_are_told_where_they_can_be(tmp_path, answer, changes, options, end):
    outcome = ended(tmp_path, lambda folder: answer, Input(b"changed", changes), **options)
    assert outcome.end == end


def test_inputs_depend_on_seed_case_and_number():
    case = Case("kind", "one", "a.bin", lambda folder: None)
    data = bytes(range(200))
    first = [make_input(case, data, 0, n) for n in range(20)]
    assert first == [make_input(case, data, 0, n) for n in range(20)]
    assert first != [make_input(case, data, 1, n) for n in range(20)]
    other = Case("kind", "two", "a.bin", lambda folder: None)
    assert first != [make_input(other, data, 0, n) for n in range(20)]


def test_half_of_the_inputs_are_changed_behind_the_checksum():
    case = Case("kind", "one", "a.bin", lambda folder: None, inside=(lambda d: d[1:], lambda d: b"!" + d))
    inputs = [make_input(case, b"!" + bytes(99), 0, n) for n in range(60)]
    inside = [one for one in inputs if one.changes[0] == "inside"]
    assert 15 < len(inside) < 45
    assert all(one.data[:1] == b"!" for one in inside)
