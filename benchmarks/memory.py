"""What a process needs of memory while a block runs, and of processor time."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


class Peak:
    """Largest resident and anonymous memory of this process and its children together, in MB (Linux).

    What processes share is counted for each of them.

    Another process looks ten times a second: engines that hold Python's interpreter lock for minutes stop threads.
    """

    def __enter__(self) -> Peak:
        self.resident = self.anonymous = 0.0
        command = [sys.executable, __file__, str(os.getpid())]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._watcher = subprocess.Popen(command, start_new_session=True, **pipes)  # noqa: S603
        return self

    def __exit__(self, *error: object) -> None:
        told, _ = self._watcher.communicate()
        self.resident, self.anonymous = map(float, told.split())


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def memory(process: str = "self") -> tuple[float, float]:
    """Resident and anonymous memory in MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    resident, anonymous = (int(lines.get(name, "0").split()[0]) / 1000 for name in ("VmRSS", "RssAnon"))
    return resident, anonymous


def watch(process: str) -> tuple[float, float]:
    """The largest sums of :func:`memory` over a process and its children until the standard input is closed."""
    resident = anonymous = 0.0
    while True:
        now = [memory(process)]
        for child in _children(process):
            with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                now.append(memory(child))
        resident, anonymous = max(resident, sum(r for r, _ in now)), max(anonymous, sum(a for _, a in now))
        if select.select([sys.stdin], [], [], 0.1)[0]:
            return resident, anonymous


def _children(process: str) -> list[str]:
    found: list[str] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += task.read_text().split()
    return [child for child in found if child != str(os.getpid())]


if __name__ == "__main__":
    print(*watch(sys.argv[1]))
