"""Memory of a process on a CPU."""

from __future__ import annotations

import ctypes
import platform

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let the process keep the memory it frees, and use it for its next tensors.

    By default glibc returns the memory of every large tensor to the kernel, and the next training step waits
    while the same pages are mapped and zeroed again. Peak memory grows little, but other processes cannot use
    the memory that is free between the peaks.

    Returns:
        True if it took effect, False if the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Large tensors come from the heap, not from mmap; the heap grows in large steps and never shrinks.
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 256 * 2**20))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


def return_freed_memory() -> bool:
    """Return to the kernel what the C library keeps of freed memory, as far as it can.

    Returns:
        True if there was something to return, False if not, or if the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).malloc_trim(0))
