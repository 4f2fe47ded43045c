"""How a long run on a CPU holds its memory."""

from __future__ import annotations

import ctypes
import platform

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let the process keep the memory it frees, for its next tensors.

    By default glibc gives every tensor of some megabytes back to the kernel when it is freed, and a step
    of training waits for the same pages to be mapped and zeroed again.
    The most it ever uses grows little; what lies idle between the peaks is not given to other processes.

    Returns:
        True where it took effect, False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # No block of its own from the kernel for a large tensor, and the heap grows in large steps, never back.
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 256 * 2**20))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])
