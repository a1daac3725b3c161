from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_moon_loss import FEATURES, WIDTH, Batch, PlainLoss, Tower, gradients
from torch import Tensor, nn

from app.moon.config import MoonConfig
from app.moon.experts import GuidedExperts
from trainer.losses import moon
from trainer.losses.moon import MoonLoss


def step(loss: MoonLoss, batch: Batch, scale: float = 1.0) -> tuple[float, dict[str, Tensor]]:
    """Value and gradients of one training step, all parameters."""
    loss.zero_grad()
    loss.samples = batch.samples()
    value = loss(batch.features(), batch.labels)
    (value * scale).backward()
    return value.item(), gradients(loss)


def same(gradient: dict[str, Tensor], expected: dict[str, Tensor], scale: float = 1.0) -> None:
    """Equal up to float32, which the temperature is in."""
    for name, value in expected.items():
        torch.testing.assert_close(gradient[name], value * scale, rtol=1e-5, atol=1e-7)


CASES = [
    {"past_batches": 0, "margin": None},
    {"past_batches": 2, "margin": 0.1},
    {"past_batches": 1, "margin": -0.5, "dims": (4, 2)},
    {"past_batches": 2, "margin": 0.1, "dims": (5, 100), "objective": "circle"},
]


@pytest.mark.parametrize("mini_batch_size", [None, 2])
@pytest.mark.parametrize("case", CASES)
def test_values_gradients_and_counts_equal_the_plain_formula(case, mini_batch_size):
    tower = Tower()
    loss = MoonLoss(tower, mini_batch_size=mini_batch_size, **case)
    plain = PlainLoss(**{**case, "dims": tuple(dim for dim in case.get("dims", ()) if dim < WIDTH)})
    for seed in range(4):
        batch = Batch.random(5, seed)
        value, gradient = step(loss, batch)
        reference, temperature = Tower(), nn.Parameter(loss.log_temperature.detach().clone())
        embedded = [reference(column)["sentence_embedding"] for column in batch.features()]
        expected = plain(embedded, batch.labels, temperature.exp().double())
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-6)
        same(gradient, {f"model.{name}": value for name, value in gradients(reference).items()})
        same(gradient, {"log_temperature": temperature.grad})
        assert loss.stats["negatives"].item() == pytest.approx(plain.negatives)
        assert loss.stats["masked"].item() == pytest.approx(plain.masked)
        held = min(seed, case["past_batches"])
        assert plain.negatives + plain.masked == 2 * 5 * (held + 1) - 1


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 6),
    past_batches=st.integers(0, 2),
    margin=st.sampled_from([None, -0.3, 0.1]),
    objective=st.sampled_from(["infonce", "circle"]),
    keys=st.integers(1, 20),
    seed=st.integers(0, 2**31),
)
def test_values_equal_the_plain_formula_for_any_shape(rows, past_batches, margin, objective, keys, seed):
    loss = MoonLoss(Tower(), objective=objective, margin=margin, past_batches=past_batches)
    plain = PlainLoss(objective, margin, past_batches)
    for offset in range(3):
        batch = Batch.random(rows, seed + offset, keys)
        embedded = [loss.model(column)["sentence_embedding"] for column in batch.features()]
        expected = plain(embedded, batch.labels, loss.temperature.double())
        assert step(loss, batch)[0] == pytest.approx(expected.item(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"dims": (4, 2)}, {"objective": "circle"}])
def test_gradient_caching_equals_the_direct_gradient_and_respects_the_scale_of_the_loss(options):
    direct, cached = (MoonLoss(Tower(), mini_batch_size=size, **options) for size in (None, 3))
    for seed in range(3):
        batch = Batch.random(7, seed)
        expected, gradient = step(direct, batch)
        value, cached_gradient = step(cached, batch, scale=0.25)
        assert value == pytest.approx(expected)
        same(cached_gradient, gradient, scale=0.25)
        assert gradient["log_temperature"].abs() > 0


def test_gradients_of_steps_add_up_until_they_are_cleared():
    direct, cached = (MoonLoss(Tower(), mini_batch_size=size) for size in (None, 2))
    for loss in (direct, cached):
        for seed in range(2):
            (loss(Batch.random(4, seed).features(), Batch.random(4, seed).labels) / 2).backward()
    same(gradients(cached), gradients(direct))


@pytest.mark.parametrize("mini_batch_size", [None, 2])
def test_comparing_piece_by_piece_changes_nothing(monkeypatch, mini_batch_size):
    options = {"dims": (4,), "mini_batch_size": mini_batch_size}
    whole, pieces = MoonLoss(Tower(), **options), MoonLoss(Tower(), **options)
    for seed in range(3):
        batch = Batch.random(5, seed)
        expected = step(whole, batch)
        with monkeypatch.context() as patch:
            patch.setattr(moon, "SIMILARITIES", 2 * 30)
            value, gradient = step(pieces, batch)
        assert value == pytest.approx(expected[0])
        same(gradient, expected[1])
        assert pieces.stats == whole.stats


def test_memory_resumes_from_the_state_of_the_loss():
    torch.manual_seed(0)
    options = {"past_batches": 2, "memory_warmup": 1}
    unbroken = MoonLoss(Tower(), **options)
    optimizer = torch.optim.SGD(unbroken.parameters(), lr=0.1)

    def advance(loss: MoonLoss, seeds: range) -> list[float]:
        values = []
        for seed in seeds:
            values.append(step(loss, Batch.random(4, seed))[0])
            optimizer.step()
        return values

    advance(unbroken, range(3))
    state = {name: value.clone() for name, value in unbroken.state_dict().items()}
    expected = advance(unbroken, range(3, 6))
    resumed = MoonLoss(Tower(), **options)
    resumed.load_state_dict(state)
    optimizer = torch.optim.SGD(resumed.parameters(), lr=0.1)
    assert advance(resumed, range(3, 6)) == expected


def test_memory_is_filled_but_not_used_during_the_warm_up():
    loss = MoonLoss(Tower(), margin=None, past_batches=2, memory_warmup=2)
    counts = []
    for seed in range(4):
        step(loss, Batch.random(4, seed, keys=1))
        counts.append(loss.stats["negatives"].item())
    assert counts == [7, 7, 23, 23]


def test_evaluation_neither_reads_nor_changes_the_memory():
    loss, fresh = MoonLoss(Tower()), MoonLoss(Tower())
    for seed in range(2):
        step(loss, Batch.random(4, seed))
    state = {name: value.clone() for name, value in loss.memory.state_dict().items()}
    stats, batch = dict(loss.stats), Batch.random(3, 9)
    expected, _ = step(fresh, batch)
    with torch.no_grad():
        assert loss(batch.features(), batch.labels).item() == pytest.approx(expected)
    loss.eval()
    assert loss(batch.features(), batch.labels).item() == pytest.approx(expected)
    torch.testing.assert_close(dict(loss.memory.state_dict()), state)
    assert loss.stats == stats


def test_evaluation_with_gradient_caching_equals_the_direct_loss():
    batch = Batch.random(5, 0)
    with torch.no_grad():
        direct, cached = (
            MoonLoss(Tower(), mini_batch_size=size)(batch.features(), batch.labels).item() for size in (None, 2)
        )
    assert cached == pytest.approx(direct)


class Given(nn.Module):
    """Hands the features out as embeddings."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["input_ids"]}


def masked_on_plane(angles: list[list[float]], labels: list[list[list[int]]], margin: float | None) -> float:
    """Mean number of false negatives for columns of unit vectors in the plane, angles in degrees."""
    loss = MoonLoss(Given(), margin=margin)
    radians = [torch.tensor(column).deg2rad() for column in angles]
    columns = [torch.stack([column.cos(), column.sin()], dim=1).requires_grad_() for column in radians]
    loss([{"input_ids": column} for column in columns], torch.tensor(labels))
    return loss.stats["masked"].item()


ORTHOGONAL = [[0.0, 90.0], [0.0, 90.0], [90.0, 0.0]]


@pytest.mark.parametrize(
    ("labels", "masked"),
    [
        ([[[1], [1], [2]], [[3], [3], [4]]], 0.0),
        ([[[1], [1], [2]], [[1], [1], [4]]], 1.0),  # each is the other's positive too
        ([[[1], [1], [1]], [[3], [3], [4]]], 0.0),  # its own hard negative is wrong whatever its keys
        ([[[1], [1], [2]], [[3], [3], [1]]], 0.5),  # the other query's hard negative is right for this one
        ([[[0], [0], [0]], [[0], [0], [0]]], 0.0),  # 0 is no key
        ([[[1], [7], [2]], [[3], [7], [4]]], 0.0),  # documents that share a key among themselves only
    ],
)
def test_documents_that_share_a_key_with_the_query_are_left_out_but_for_its_own(labels, masked):
    assert masked_on_plane(ORTHOGONAL, labels, margin=None) == masked


def test_documents_far_closer_than_the_positive_are_left_out_but_never_the_own_hard_negative():
    angles = [[0.0, 180.0], [60.0, 180.0], [20.0, 20.0]]
    labels = [[[0], [0], [0]]] * 2
    assert masked_on_plane(angles, labels, margin=0.1) == 0.5  # the other query's hard negative, for the first query
    assert masked_on_plane(angles, labels, margin=0.5) == 0.0
    assert masked_on_plane(angles, labels, margin=None) == 0.0


@pytest.mark.parametrize("objective", ["infonce", "circle"])
@pytest.mark.parametrize("mini_batch_size", [None, 2])
def test_where_all_others_are_left_out_the_own_hard_negative_alone_is_learned_from(objective, mini_batch_size):
    loss = MoonLoss(Tower(), objective=objective, margin=-2.5, dims=(4,), mini_batch_size=mini_batch_size)
    for seed in range(2):
        value, _ = step(loss, Batch.random(3, seed))
        assert value > 0
        assert loss.stats["negatives"] == 1


def test_false_negatives_are_judged_on_the_full_vectors():
    batch = Batch.random(4, 0, keys=1)
    full, cut = MoonLoss(Tower(), margin=0.0), MoonLoss(Tower(), margin=0.0, dims=(4, 2, 1))
    step(full, batch)
    step(cut, batch)
    assert cut.stats == full.stats


def test_temperature_is_learned_within_its_limits_and_comes_back_from_them():
    loss, batch = MoonLoss(Tower()), Batch.random(4, 0)
    for value, limit in ((-9.0, 0.01), (3.0, 0.1)):
        loss.log_temperature.data.fill_(value)
        _, gradient = step(loss, batch)
        assert loss.stats["temperature"].item() == pytest.approx(limit)
        assert loss.temperature.item() == pytest.approx(limit)
        assert gradient["log_temperature"].abs() > 0


def test_loss_of_a_bfloat16_model_is_computed_in_float32_also_under_autocast():
    batch = Batch.random(4, 0)
    features = [{"input_ids": column.bfloat16()} for column in batch.columns]
    exact = MoonLoss(Given())([{"input_ids": column["input_ids"].double()} for column in features], batch.labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = MoonLoss(Given())(features, batch.labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


class Experts(GuidedExperts):
    """Notes the scale of its load balancing and the rows of every call that trains."""

    def __init__(self) -> None:
        super().__init__(MoonConfig(), FEATURES)
        self.calls: list[tuple[float, int]] = []

    def forward(self, hidden: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.calls.append((self.balance_scale, len(hidden)))
        return hidden

    def mix(self, flat: Tensor, weights: Tensor) -> Tensor:
        return flat


class Routed(Tower):
    def __init__(self) -> None:
        super().__init__()
        self.experts = Experts()

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return super().forward({"input_ids": self.experts(features["input_ids"])})


@pytest.mark.parametrize(("mini_batch_size", "rows"), [(None, [5] * 3), (2, [2, 2, 1] * 3), (8, [5] * 3)])
def test_load_balancing_is_weighed_by_rows_so_that_an_optimiser_step_receives_a_mean(mini_batch_size, rows):
    tower = Routed()
    loss = MoonLoss(tower, mini_batch_size=mini_batch_size, accumulation=2)
    for seed in range(2):
        batch = Batch.random(5, seed)
        loss(batch.features(), batch.labels).backward()
    scales, counts = zip(*tower.experts.calls, strict=True)
    assert list(counts) == rows * 2
    assert list(scales) == pytest.approx([count / 15 / 2 for count in counts])
    assert sum(scales) == pytest.approx(1)


def test_beside_the_model_the_state_of_the_loss_is_temperature_and_memory():
    names = [name for name in MoonLoss(Routed()).state_dict() if not name.startswith("model.")]
    assert sorted(names) == ["log_temperature", "memory._extra_state", "memory.documents", "memory.keys"]


@pytest.mark.parametrize(
    ("columns", "labels", "message"),
    [
        (2, (4, 3, 2), "got 2 columns"),
        (3, (4, 2, 2), r"labels of shape \(4, 2, 2\)"),
        (3, (4, 3), r"labels of shape \(4, 3\)"),
        (3, (4, 3, 0), "K at least 1"),
        (3, (5, 3, 2), "labels for 5"),
    ],
)
def test_columns_and_labels_of_another_shape_are_named(columns, labels, message):
    with pytest.raises(ValueError, match=message):
        MoonLoss(Tower())(Batch.random(4, 0).features()[:columns], torch.zeros(labels, dtype=torch.long))


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "triplet"},
        {"temperature": 0.5},
        {"past_batches": -1},
        {"memory_warmup": -1},
        {"mini_batch_size": 0},
        {"accumulation": 0},
        {"dims": (8, 0)},
    ],
)
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="|".join(options)):
        MoonLoss(Tower(), **options)


@pytest.mark.parametrize("mini_batch_size", [None, 2])
@pytest.mark.parametrize("objective", ["infonce", "circle"])
def test_without_hard_negatives_the_positives_of_the_batch_are_all_that_is_compared(mini_batch_size, objective):
    tower = Tower()
    options = {"past_batches": 0, "hard_negatives": False, "margin": None}
    loss = MoonLoss(tower, objective=objective, mini_batch_size=mini_batch_size, **options)
    batch = Batch.random(5, 0, keys=1)
    value, gradient = step(loss, batch)
    queries, positives, _ = (nn.functional.normalize(tower(c)["sentence_embedding"]).float() for c in batch.features())
    similarities, own = queries @ positives.T, torch.arange(5)
    left_out = torch.eye(5, dtype=torch.bool)
    positive = similarities[own, own, None]
    plain = moon.OBJECTIVES[objective](positive, similarities, left_out, loss.temperature).mean()
    tower.zero_grad()
    plain.backward()
    assert value == pytest.approx(plain.item(), rel=1e-5)
    same(gradient, {f"model.{name}": value for name, value in gradients(tower).items()})
    assert loss.stats["negatives"].item() == 4


def test_without_hard_negatives_their_column_is_not_embedded():
    tower, rows = Tower(), []
    tower.register_forward_pre_hook(lambda _, args: rows.append(len(args[0]["input_ids"])))
    step(MoonLoss(tower, past_batches=0, hard_negatives=False), Batch.random(5, 0))
    assert rows == [5, 5]
