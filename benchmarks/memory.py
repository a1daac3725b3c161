"""What a process needs of memory while a block runs."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path


class Peak:
    """Largest resident and anonymous memory of this process in MB (Linux).

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


def memory(process: str = "self") -> tuple[float, float]:
    """Resident and anonymous memory in MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    resident, anonymous = (int(lines[name].split()[0]) / 1000 for name in ("VmRSS", "RssAnon"))
    return resident, anonymous


def watch(process: str) -> tuple[float, float]:
    """The largest that :func:`memory` says until the standard input is closed."""
    resident, anonymous = memory(process)
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        now = memory(process)
        resident, anonymous = max(resident, now[0]), max(anonymous, now[1])
    return resident, anonymous


if __name__ == "__main__":
    print(*watch(sys.argv[1]))
