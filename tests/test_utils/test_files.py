"""Files appear whole or not at all, under safe names; they are read whatever wrote them."""

from __future__ import annotations

import errno
import json
import mmap
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlandmark.engine import RunLock
from mmlandmark.utils import files
from mmlandmark.utils.checkpoint import save_checkpoint
from mmlandmark.utils.files import (
    atomic_path,
    atomic_write_json,
    atomic_write_text,
    expanded,
    load_json,
    read_json,
    read_text,
    safe_name,
)

TO_DISK = files._to_disk  # as it is outside of tests


def test_folders_are_made_and_files_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "note.txt"
    atomic_write_text(path, "Höhe 1 µm\n")
    atomic_write_text(path, "Höhe 2 µm\n")
    assert path.read_bytes() == "Höhe 2 µm\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_the_path_itself_is_untouched_until_the_end(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path  # a rename within one file system is atomic
        assert temporary.suffix == ".csv"  # writers choose the format by it
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_without_permissions_takes_files(tmp_path, monkeypatch):
    """FAT and exFAT, as on a stick, answer so to every change of the bits of a file."""

    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refused)
    monkeypatch.setattr(os, "fchmod", refused)
    monkeypatch.setattr(os, "link", refused)
    atomic_write_text(tmp_path / "note.txt", "as ever")
    assert (tmp_path / "note.txt").read_text() == "as ever"
    with RunLock(tmp_path):
        assert RunLock(tmp_path).holder()["pid"] == os.getpid()


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the system, in its order: files and folders that go to the disk, and renames."""
    found, replace, fsync = [], os.replace, os.fsync
    # The fixture of all tests leaves this out.
    monkeypatch.setattr(files, "_to_disk", TO_DISK)

    def synchronised(handle):
        state = os.fstat(handle)
        found.append("folder" if stat.S_ISDIR(state.st_mode) else state.st_size)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synchronised)
    monkeypatch.setattr(os, "replace", lambda *args: (found.append("rename"), replace(*args)))
    return found


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, calls):
    atomic_write_json(tmp_path / "note.json", [1, 2], indent=None)
    assert calls == [len("[1, 2]\n"), "rename", "folder"]
    calls.clear()
    with atomic_path(tmp_path / "of_a_cache.npy", durable=False) as temporary:
        temporary.write_bytes(b"x")
    assert calls == ["rename"]
    calls.clear()
    save_checkpoint({"state_dict": {}}, tmp_path / "epoch_1.pth")
    assert calls == [(tmp_path / "epoch_1.pth").stat().st_size, "rename", "folder"]


def test_what_a_disk_cannot_take_is_an_error_and_what_a_file_system_lacks_is_none(
    tmp_path, calls, monkeypatch
):
    path = tmp_path / "note.txt"
    atomic_write_text(path, "old")

    def refuse(handle, number):
        if stat.S_ISDIR(os.fstat(handle).st_mode) == (number == errno.EINVAL):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", lambda handle: refuse(handle, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        atomic_write_text(path, "new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
    monkeypatch.setattr(os, "fsync", lambda handle: refuse(handle, errno.EINVAL))
    atomic_write_text(path, "new")
    assert path.read_text() == "new"


def test_a_large_file_goes_to_the_disk_in_pieces(tmp_path, calls, monkeypatch):
    """After each the process shows that it works, however slow the disk is."""
    signs, plain = [], mmap.mmap
    monkeypatch.setattr(files, "sign_of_work", lambda: signs.append(list(calls)))
    monkeypatch.setattr(files, "_PIECE", mmap.ALLOCATIONGRANULARITY)
    data = os.urandom(2 * mmap.ALLOCATIONGRANULARITY + 5)
    with atomic_path(tmp_path / "large") as temporary:
        temporary.write_bytes(data)
    assert signs == [[], [], []], "before all of it is asked for"
    assert calls == [len(data), "rename", "folder"]
    assert (tmp_path / "large").read_bytes() == data

    def refuse(*_):
        raise OSError(errno.ENODEV, "no such maps here")

    monkeypatch.setattr(files.mmap, "mmap", refuse)
    with atomic_path(tmp_path / "large") as temporary:
        temporary.write_bytes(data[:-1])
    assert len(signs) == 3
    assert (tmp_path / "large").read_bytes() == data[:-1]

    class Broken(plain):
        def flush(self, *_):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.mmap, "mmap", Broken)
    with (
        pytest.raises(OSError, match="Input/output error"),
        atomic_path(tmp_path / "large") as temporary,
    ):
        temporary.write_bytes(data)
    assert (tmp_path / "large").read_bytes() == data[:-1]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [True, False])
def test_an_error_leaves_what_was_there(tmp_path, error, exists):
    path = tmp_path / "model.pth"
    if exists:
        path.write_text("old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("hal")
            raise error("the disk is full")

    with pytest.raises(error):
        write_half()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] * exists


def test_a_value_that_is_no_json_leaves_the_file(tmp_path):
    path = tmp_path / "a.json"
    atomic_write_json(path, {"mre": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        atomic_write_json(path, {"mre": float("nan")})
    with pytest.raises(TypeError, match="set"):
        atomic_write_json(path, {"mre": {1}})
    assert json.loads(path.read_text()) == {"mre": 1.5}
    assert list(tmp_path.iterdir()) == [path]


def test_json_layout(tmp_path):
    atomic_write_json(tmp_path / "a.json", {"b": [1]}, indent=None)
    assert (tmp_path / "a.json").read_text() == '{"b": [1]}\n'


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        atomic_write_text(tmp_path / "ours", "")
        (tmp_path / "plain").write_text("")
        assert os.umask(umask) == umask  # looking at it did not change it
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")]
    assert modes == [0o666 & ~umask] * 2


@pytest.mark.parametrize("name", ["001", "case_1", "v.nii", "sunhl-1th-03-Jan-2017-16 A AP", "träger", "__"])
def test_a_safe_name_stays(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        *("../x", "x/../../evil", "/etc/passwd", "C:\\x", "..", ".", "", ".hidden", "-rf", "a\nb", "a\0b"),
        *("CON", "nul.txt", "a.", "a ", "a|b", "a:b", "x" * 300, "日" * 100, "\ud800", "a~0123456789"),
    ],
)
def test_any_other_name_is_changed_and_lies_in_its_folder(text, tmp_path):
    name = safe_name(text)
    assert name != text
    path = tmp_path / f"{name}.txt"
    atomic_write_text(path, "x")
    assert os.listdir(tmp_path) == [path.name]
    assert path.resolve().parent == tmp_path.resolve()
    assert safe_name(text) == name


@given(st.lists(st.text(max_size=150), min_size=2, max_size=5, unique=True))
def test_safe_names_are_plain_short_and_never_shared(texts):
    names = [safe_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    for name in names:
        assert Path(name).name == name
        assert len(name.encode()) < 150
        assert ".." not in name
        assert all(character.isprintable() for character in name)
        assert not set(name) & set('<>:"/\\|?*')
    assert safe_name(names[0]) == names[0] or "~" in names[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_any_unicode_file(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes("Höhe\r\nµm\rz\n".encode(encoding))
    assert read_text(path) == "Höhe\nµm\nz\n"


def test_text_of_windows_is_read_where_that_is_wanted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("Höhe".encode("cp1252"))
    assert read_text(path, legacy=True) == "Höhe"
    with pytest.raises(ValueError, match=r"a\.csv: not a UTF-8 text file"):
        read_text(path)


@pytest.mark.parametrize("data", [b"\x81\xff", b"a\0b", "abc".encode("utf-16-le"), b"\xff\xfea\0\xd8"])
def test_what_is_no_text_is_refused(tmp_path, data):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.csv: .*text file"):
        read_text(path, legacy=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n oops}', r"a\.json, line 2: not valid JSON"),
        (" \n", r"a\.json: the file is empty"),
        ("[" * 200000, r"a\.json: not valid JSON: nested too deeply"),
        ("1" * 5000, r"a\.json: not valid JSON: .*digit"),
        ('{"a": 1, "a": 2}', r"a\.json: not valid JSON: an object has the key 'a' twice"),
    ],
)
def test_broken_json_names_its_file(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_json(tmp_path / "a.json")


def test_json_that_is_no_object(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    assert load_json(tmp_path / "a.json") == [1]
    with pytest.raises(ValueError, match=r"a\.json: expected a JSON object, got list"):
        read_json(tmp_path / "a.json")


def test_a_path_that_exists_is_taken_as_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_DATA", "elsewhere")
    assert expanded("$SOME_DATA/points.json", tmp_path) == "elsewhere/points.json"
    (tmp_path / "$SOME_DATA").mkdir()
    assert expanded("$SOME_DATA", tmp_path) == "$SOME_DATA"
    assert expanded(tmp_path / "$SOME_DATA") == str(tmp_path / "$SOME_DATA")
    assert expanded("") == ""
    assert expanded("~/points.json") == str(Path.home() / "points.json")
