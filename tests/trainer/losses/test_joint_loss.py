"""Several query views per triplet, and products' pictures against their words, held to loops over pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from plain_moon_loss import WIDTH, Batch, PlainLoss, Tower, cosine, gradients
from test_moon_loss import Routed, same, step
from torch import Tensor, nn

from trainer.losses.columns import ABSENT, ALSO_RIGHT, FILLER, Columns
from trainer.losses.moon import MoonLoss

VIEWS = 3


@dataclass
class PlainJoint(PlainLoss):
    """Reference of a step with three views and products; counts like :class:`PlainLoss`."""

    hard_negatives: bool = True
    intra: float = 0.0
    weights: tuple[float, ...] = (1.0,) * VIEWS
    documents: list[tuple[Tensor, set[int]]] = field(default_factory=list)

    def of_batch(self, batch: Batch, tower: Tower, temperatures: tuple[Tensor, Tensor]) -> Tensor:
        embedded = [tower({"input_ids": column})["sentence_embedding"] for column in batch.columns]
        keys = [[set(row.tolist()) - {0} for row in column] for column in batch.labels.transpose(0, 1)]
        rows = len(batch.labels)
        documents = list(zip(embedded[3], keys[3], strict=True))
        if self.hard_negatives:
            documents += zip(embedded[4], keys[4], strict=True)
        pool = documents + [document for old in self.past for document in old]
        total = torch.zeros((), dtype=torch.double)
        for view in range(VIEWS):
            for i in range(rows):
                if ABSENT not in keys[view][i]:
                    own = self._query(embedded[view][i], keys[view][i], i, rows, pool, temperatures[0])
                    total = total + self.weights[view] * own
        for i in range(rows):
            if ABSENT not in keys[5][i]:
                there = [j for j in range(rows) if ABSENT not in keys[5][j]]
                total = total + self.intra * self._product(i, there, embedded[5:], keys[5], temperatures[1])
        self.past.append([(vector.detach(), theirs) for vector, theirs in documents])
        del self.past[: -self.past_batches or None]
        return total / rows

    def _query(self, query: Tensor, keys: set[int], i: int, rows: int, pool: list, temperature: Tensor) -> Tensor:
        positive, kept = pool[i][0], []
        for j, (vector, theirs) in enumerate(pool):
            too_close = self.margin is not None and cosine(query, vector) > cosine(query, positive) + self.margin
            if j == i or (j == rows + i and self.hard_negatives and ALSO_RIGHT in keys):
                continue
            if (j == rows + i and self.hard_negatives) or not (too_close or keys & theirs):
                kept.append(vector)
        return self._over_widths(query, positive, kept, temperature)

    def _product(
        self, i: int, there: list[int], sides: list[Tensor], keys: list[set[int]], temperature: Tensor
    ) -> Tensor:
        kept = [j for j in there if j != i and not keys[i] & keys[j]]
        pictures, words = sides
        there_and_back = [
            self._over_widths(ours[i], theirs[i], [theirs[j] for j in kept], temperature)
            for ours, theirs in ((pictures, words), (words, pictures))
        ]
        return torch.stack(there_and_back).mean()

    def _over_widths(self, query: Tensor, positive: Tensor, kept: list[Tensor], temperature: Tensor) -> Tensor:
        losses = []
        for width in (WIDTH, *self.dims):
            similarities = [cosine(query[:width], vector[:width]) for vector in kept]
            losses.append(self._one(cosine(query[:width], positive[:width]), similarities, temperature))
        return torch.stack(losses).mean()


CASES = [
    {},
    {"past_batches": 1, "intra": 0.7},
    {"margin": -0.2, "dims": (4, 2), "intra": 2.0},
    {"past_batches": 0, "hard_negatives": False, "margin": None, "intra": 1.0},
]


def batch_of(seed: int, case: dict, missing: int = ABSENT) -> Batch:
    """Without the products where nothing aligns them."""
    batch = Batch.of_views(6, seed, missing)
    return batch if case.get("intra") else Batch(batch.columns[:5], batch.labels[:, :5])


@pytest.mark.parametrize("mini_batch_size", [None, 2])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_loops_over_views_products_and_documents(case, mini_batch_size):
    loss, plain = MoonLoss(Tower(), mini_batch_size=mini_batch_size, **case), PlainJoint(**case)
    for seed in range(3):
        value, gradient = step(loss, batch_of(seed, case))
        reference = Tower()
        temperatures = tuple(nn.Parameter(p.detach().clone()) for p in (loss.log_temperature,) * 2)
        expected = plain.of_batch(Batch.of_views(6, seed), reference, tuple(t.exp().double() for t in temperatures))
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-6)
        same(gradient, {f"model.{name}": value for name, value in gradients(reference).items()})
        same(gradient, {"log_temperature": temperatures[0].grad})
        if loss.alignment is not None:
            same(gradient, {"alignment.log_temperature": temperatures[1].grad})


@pytest.mark.parametrize("mini_batch_size", [None, 2])
def test_fillers_count_as_what_is_absent(mini_batch_size):
    absent, filled = (MoonLoss(Tower(), intra=1.0, mini_batch_size=mini_batch_size) for _ in range(2))
    for seed in range(3):
        value, gradient = step(absent, Batch.of_views(6, seed, ABSENT))
        other, other_gradient = step(filled, Batch.of_views(6, seed, FILLER))
        assert other == pytest.approx(value)
        same(other_gradient, gradient)
        torch.testing.assert_close(filled.stats, absent.stats)


@pytest.mark.parametrize(
    "options", [{}, {"mini_batch_size": 2}, {"dims": (4,), "past_batches": 1}, {"objective": "circle"}]
)
def test_one_view_of_three_is_the_mixture_bit_for_bit(options):
    mixture, joint = MoonLoss(Tower(), **options), MoonLoss(Tower(), **options)
    for seed in range(3):
        batch = Batch.random(5, seed)
        missing, (query, *documents) = torch.full_like(batch.labels[:, :1], ABSENT), batch.columns
        labels = torch.cat([missing, batch.labels[:, :1], missing, batch.labels[:, 1:]], dim=1)
        value, gradient = step(mixture, batch)
        other, other_gradient = step(joint, Batch([query, query, query, *documents], labels))
        assert other == value
        assert all(torch.equal(other_gradient[name], expected) for name, expected in gradient.items())


def test_columns_that_are_absent_and_rows_that_are_absent_are_not_embedded():
    tower, rows = Tower(), []
    tower.register_forward_pre_hook(lambda _, args: rows.append(len(args[0]["input_ids"])))
    batch = Batch.of_views(6, 1)
    batch.labels[:, 0, 0] = 5
    batch.labels[:, 1, 0] = ABSENT
    batch.labels[:2, 2, 0] = ABSENT
    batch.labels[2:, 2, 0] = 5
    batch.labels[:, 5, 0] = ABSENT
    step(MoonLoss(tower, intra=1.0), batch)
    assert rows == [6, 4, 6, 6]


@pytest.mark.parametrize("hard_negatives", [True, False])
def test_weights_of_samples_get_the_cosines_of_each_query_with_positive_and_hardest_negative(hard_negatives):
    tower, batch, seen = Tower(), batch_of(2, {}), {}

    def weigh(positives: Tensor, negatives: Tensor, _: int, sources: Tensor) -> Tensor:
        seen["positives"], seen["negatives"], seen["items"] = positives, negatives, sources[:, 1].tolist()
        return torch.linspace(0, 2, len(positives))

    options = {"past_batches": 0, "margin": None, "hard_negatives": hard_negatives}
    weighted = MoonLoss(tower, sample_filter=weigh, **options)
    value, _ = step(weighted, batch)
    columns = Columns(batch.labels, hard_negatives=True, intra=False)
    embedded = [tower(column)["sentence_embedding"] for column in batch.features()]
    queries = columns.queries(embedded)
    documents = embedded[-2:]
    keys = [[set(row.tolist()) for row in batch.labels[:, place]] for place in (3, 4)]
    for n, (query, row) in enumerate(zip(queries.vectors, queries.triplet.tolist(), strict=True)):
        own = set(queries.keys[n].tolist()) - {0}
        kept = [
            cosine(query, vector).item()
            for side in range(1 + hard_negatives)
            for j, vector in enumerate(documents[side])
            if not (side == 0 and j == row) and not own & keys[side][j]
        ]
        hard = cosine(query, documents[1][row]).item()
        is_hard = hard_negatives and ALSO_RIGHT not in own
        assert (seen["items"][n] >= 0) is is_hard
        expected = hard if is_hard else max(kept)
        assert seen["negatives"][n].item() == pytest.approx(expected, rel=1e-5)
        assert seen["positives"][n].item() == pytest.approx(cosine(query, documents[0][row]).item(), rel=1e-5)
    alone = []
    for n in range(len(queries)):  # the mean of weighted losses is linear in the weights
        only = MoonLoss(tower, sample_filter=lambda p, *_, n=n: torch.eye(len(p))[n], **options)
        alone.append(step(only, batch)[0])
    assert value == pytest.approx(
        sum(w * v for w, v in zip(torch.linspace(0, 2, len(alone)), alone, strict=True)).item()
    )


def test_evaluation_knows_neither_weights_nor_memory():
    batch = batch_of(0, {"intra": 1})
    plain = MoonLoss(Tower(), intra=1.0)
    weighted = MoonLoss(Tower(), intra=1.0, sample_filter=lambda positives, *_: positives * 0)
    step(plain, batch)
    plain.eval()
    weighted.eval()
    fresh = MoonLoss(Tower(), intra=1.0)
    with torch.no_grad():
        values = [loss(batch.features(), batch.labels).item() for loss in (plain, weighted, fresh)]
    assert values == pytest.approx([step(fresh, batch)[0]] * 3)
    assert weighted.stats == {}


@pytest.mark.parametrize("mini_batch_size", [None, 4])
def test_load_balancing_is_shared_by_the_rows_of_all_columns(mini_batch_size):
    tower, batch = Routed(), batch_of(4, {"intra": 1})
    step(MoonLoss(tower, intra=1.0, mini_batch_size=mini_batch_size), batch)
    scales, counts = zip(*tower.experts.calls, strict=True)
    total = sum(len(column["input_ids"]) for column in batch.features())
    assert sum(counts) == total
    assert list(scales) == pytest.approx([count / total for count in counts])


def test_stats_tell_queries_per_triplet_and_the_part_of_alignment():
    batch = batch_of(5, {"intra": 1})
    loss, without = MoonLoss(Tower(), intra=0.5), MoonLoss(Tower())
    value, _ = step(loss, batch)
    inter, _ = step(without, batch_of(5, {}))
    assert loss.stats["intra"].item() == pytest.approx(value - inter)
    assert loss.stats["queries"].item() == pytest.approx((batch.labels[:, :VIEWS, 0] != ABSENT).sum().item() / 6)
    assert loss.stats["intra_temperature"].item() == pytest.approx(0.05)


def test_the_temperature_of_alignment_is_learned_within_its_limits():
    loss = MoonLoss(Tower(), intra=1.0)
    loss.alignment.log_temperature.data.fill_(5.0)
    _, gradient = step(loss, batch_of(0, {"intra": 1}))
    assert loss.stats["intra_temperature"].item() == pytest.approx(0.1)
    assert gradient["alignment.log_temperature"].abs() > 0


def test_a_column_too_many_is_named():
    batch = batch_of(0, {})
    with pytest.raises(ValueError, match=r"expected 5 columns .* got 6 columns"):
        MoonLoss(Tower())([*batch.features(), batch.features()[0]], batch.labels)
