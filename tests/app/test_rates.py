from __future__ import annotations

import pytest

from app import rates
from app.rates import TokenBuckets


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    return Clock()


def test_a_client_may_send_a_burst_and_then_its_rate(clock):
    buckets = TokenBuckets(rate=2.0, burst=3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    clock.now = 0.25
    assert buckets.take("a") == 0.25
    clock.now = 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    clock.now = 1000.0
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_the_client_that_was_quiet_for_longest_is_forgotten(clock, monkeypatch):
    monkeypatch.setattr(rates, "CLIENTS", 2)
    buckets = TokenBuckets(rate=1.0, burst=1, clock=clock)
    for client in ("a", "b", "c"):
        buckets.take(client)
    assert len(buckets._buckets) == 2
    assert buckets.take("c") == 1.0
    assert buckets.take("a") == 0
