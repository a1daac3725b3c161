from __future__ import annotations

import platform
import resource

import pytest
import torch

from app.moon.allocator import keep_freed_memory

TIMES, NUMBERS = 20, 6_000_000


def new_pages() -> int:
    """Pages that the kernel had to clear for ``TIMES`` maps, each freed before the next."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        torch.ones(NUMBERS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_maps_are_used_again_without_new_pages():
    assert keep_freed_memory()
    new_pages()
    assert new_pages() < TIMES * NUMBERS * 4 / resource.getpagesize() / 4


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
