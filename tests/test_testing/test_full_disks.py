"""Disks without room, and limits for the size of files."""

from __future__ import annotations

import errno
import multiprocessing
import os

import pytest

from mmlandmark.testing import full_disks
from mmlandmark.testing.forks import forked


def test_a_disk_has_so_much_room_and_then_more(tmp_path):
    try:
        with full_disks.small_disk(tmp_path, 64) as disk:
            with pytest.raises(OSError, match="No space left"):
                (disk / "large").write_bytes(bytes(2**17))
            full_disks.resize_disk(disk, 512)
            (disk / "large").write_bytes(bytes(2**17))
            assert full_disks.size_below(disk) == 2**17
    except OSError as error:
        if "no tmpfs can be mounted" not in str(error):
            raise
        pytest.skip(str(error))
    assert not list((tmp_path / "disk").iterdir())


def writes(path):
    full_disks.limit_files(4)
    try:
        path.write_bytes(bytes(2**13))
    except OSError as error:
        os._exit(error.errno)
    os._exit(0)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_files_become_no_larger(tmp_path):
    process = forked(writes, tmp_path / "a")
    process.join(60)
    assert process.exitcode == errno.EFBIG
    assert (tmp_path / "a").stat().st_size <= 2**12
