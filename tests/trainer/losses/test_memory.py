from __future__ import annotations

import logging

import pytest
import torch

from trainer.losses.memory import Memory


def batch(number: int, rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((rows, 3), float(number), requires_grad=True), torch.full((rows, 1), number)


def recalled(memory: Memory, rows: int = 2) -> list[int]:
    documents, keys = memory.recall(*batch(0, rows))
    assert documents[:, 0].tolist() == keys[:, 0].tolist()
    assert not documents.requires_grad
    return keys[:, 0].tolist()


def test_memory_holds_the_last_batches():
    memory = Memory(2)
    seen = []
    for number in range(1, 5):
        seen.append(recalled(memory))
        memory.add(*batch(number))
    assert seen == [[], [1, 1], [1, 1, 2, 2], [2, 2, 3, 3]]


def test_memory_of_no_batches_stays_empty():
    memory = Memory(0)
    recalled(memory)
    memory.add(*batch(1))
    assert recalled(memory) == []


def test_memory_fills_but_is_not_read_during_the_warm_up():
    memory = Memory(2, warmup=3)
    seen = []
    for number in range(1, 6):
        seen.append(recalled(memory))
        memory.add(*batch(number))
    assert seen == [[], [], [], [2, 2, 3, 3], [3, 3, 4, 4]]


def test_a_batch_of_another_size_restarts_the_memory_and_is_logged_once(caplog):
    memory = Memory(2)
    with caplog.at_level(logging.WARNING):
        for number, rows in enumerate((2, 3, 3, 2), start=1):
            recalled(memory, rows)
            memory.add(*batch(number, rows))
    assert recalled(memory) == [4, 4]
    assert [record.message.split(":")[0] for record in caplog.records] == ["the memory of past negatives restarts"]


def test_what_was_recalled_does_not_change_when_the_memory_moves_on():
    memory = Memory(1)
    recalled(memory)
    memory.add(*batch(1))
    documents, _ = memory.recall(*batch(0))
    memory.add(*batch(2))
    assert documents.eq(1).all()


@pytest.mark.parametrize(("batches", "expected"), [(1, [3, 3]), (2, [2, 2, 3, 3]), (4, [2, 2, 3, 3])])
def test_state_moves_to_a_memory_of_another_length(batches, expected):
    memory = Memory(2, warmup=3)
    recalled(memory)
    for number in (1, 2, 3):
        memory.add(*batch(number))
    resumed = Memory(batches, warmup=3)
    resumed.load_state_dict(memory.state_dict())
    assert recalled(resumed) == expected


def test_state_holds_tensors_only():
    assert all(isinstance(value, torch.Tensor) for value in Memory(2).state_dict().values())
