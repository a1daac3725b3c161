"""What a process needs of memory while a block runs."""

from __future__ import annotations

import threading
from pathlib import Path


class Peak:
    """Largest resident and anonymous memory of this process in MB, looked at ten times a second (Linux)."""

    def __enter__(self) -> Peak:
        self.resident = self.anonymous = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            resident, anonymous = memory()
            self.resident, self.anonymous = max(self.resident, resident), max(self.anonymous, anonymous)


def memory() -> tuple[float, float]:
    """Resident and anonymous memory in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, anonymous = (int(lines[name].split()[0]) / 1000 for name in ("VmRSS", "RssAnon"))
    return resident, anonymous
