"""The loss on 2 and 4 processes (gloo) with 3 columns, each under DDP, against one process with the joined batch."""

from __future__ import annotations

import pytest
import torch
from ranks import CASES, ROWS, STEPS, joined, loss_of, run, train
from torch import Tensor

pytestmark = pytest.mark.slow
Notes = dict[str, Tensor]


@pytest.fixture(scope="module", params=[2, 4], ids="{} ranks".format)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Notes]:
    """What each rank noted, all cases."""
    return run(request.param, tmp_path_factory.mktemp("ranks"))


def of_case(notes: Notes, case: str, step: int) -> Notes:
    prefix = f"{case} {step} "
    return {name.removeprefix(prefix): tensor for name, tensor in notes.items() if name.startswith(prefix)}


@pytest.mark.parametrize("case", CASES)
def test_ranks_train_as_one_process_with_the_joined_batch(found, case):
    ranks = len(found)
    alone = train(loss_of(case), [joined(case, ranks, step) for step in range(STEPS)])
    for step in range(STEPS):
        expected = {name.removeprefix(f"{step} "): t for name, t in alone.items() if name.startswith(f"{step} ")}
        by_rank = [of_case(notes, case, step) for notes in found]
        for name, value in expected.items():
            if name in ("value", "queries", "intra", "negatives", "masked", "kept"):
                of_queries = name in ("negatives", "masked", "kept")
                weights = torch.stack([notes.get("queries", torch.tensor(1.0)) for notes in by_rank])
                weights = weights / weights.sum() if of_queries else torch.full_like(weights, 1 / ranks)
                mean = (torch.stack([notes[name] for notes in by_rank]) * weights).sum()
                torch.testing.assert_close(mean, value, rtol=1e-6, atol=1e-8)
            else:
                for notes in by_rank:
                    torch.testing.assert_close(notes[name], value, rtol=1e-5, atol=1e-8, msg=f"{name}, step {step}")
        assert expected["log_temperature"].abs() > 0


@pytest.mark.parametrize("case", CASES)
def test_a_query_has_2pb_k_plus_1_less_1_negatives_and_false_ones(found, case):
    for notes in found:
        for step in range(STEPS):
            held = min(step, CASES[case]["past_batches"])
            counts = of_case(notes, case, step)
            total = 2 * len(found) * ROWS * (held + 1) - 1
            assert (counts["negatives"] + counts["masked"]).item() == pytest.approx(total)
            assert 0 < counts["masked"] < total


@pytest.mark.parametrize("case", [case for case in CASES if "weighing" in CASES[case]])
def test_every_rank_keeps_the_samples_of_all(found, case):
    alone = train(loss_of(case), [joined(case, len(found), step) for step in range(STEPS)])["samples"]
    for notes in found:
        samples = notes[f"{case} samples"]
        assert len(samples) == len(alone) > 0
        order = sorted(map(tuple, alone.tolist()))
        torch.testing.assert_close(torch.tensor(sorted(map(tuple, samples.tolist()))), torch.tensor(order))


def test_without_spatial_negatives_a_rank_compares_with_its_own_documents(found):
    for notes in found:
        for step in range(STEPS):
            counts = of_case(notes, "own rank only", step)
            total = 2 * ROWS * (min(step, 1) + 1) - 1
            assert (counts["negatives"] + counts["masked"]).item() == pytest.approx(total)
    values = {notes["own rank only 0 value"].item() for notes in found}
    assert len(values) == len(found)
    temperatures = {notes["own rank only 0 log_temperature"].item() for notes in found}
    assert len(temperatures) == 1
