import doctest
import logging

import pytest

from indexer import clock, console, progress


@pytest.mark.parametrize("module", [clock, console])
def test_the_examples_in_the_documentation_hold(module):
    assert doctest.testmod(module).failed == 0


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.show_progress("Vectors", 10_000) as advance:
        for second in range(1, 100):
            now[0] = float(second)
            advance(20)
    assert [record.message for record in caplog.records] == [
        "Vectors: 600 of 10000, 20/s, 0:07:50 left",
        "Vectors: 1200 of 10000, 20/s, 0:07:20 left",
        "Vectors: 1800 of 10000, 20/s, 0:06:50 left",
    ]
