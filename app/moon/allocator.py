"""Memory that a layer frees is kept for the next one, instead of going back to the kernel in between."""

from __future__ import annotations

import ctypes
import logging
import platform

logger = logging.getLogger(__name__)

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt's parameters M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (malloc.h of glibc)."""
KEPT_BYTES = 256 * 2**20
"""Freed memory that the process keeps: what some pictures need on their way through a small vision tower."""
LARGEST_KEPT = 32 * 2**20
"""Larger pieces always come from the kernel; glibc takes no higher limit."""


def keep_freed_memory() -> bool:
    """Have glibc keep up to ``KEPT_BYTES`` of freed memory in this process; whether it does (our decision).

    By default it returns the maps of a vision tower layer by layer, and the kernel clears each page anew: about a sixth
    of a picture's time on a CPU. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(TRIM_THRESHOLD, KEPT_BYTES))
    logger.debug("freed memory is kept: %s", kept)
    return kept
