"""The loss with weights of objectives and dynamic filtering, beside a plain sum over queries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from plain_moon_loss import FEATURES, KEYS, RoutedTower, gradients
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from trainer.losses.columns import ABSENT
from trainer.losses.filtering import SampleFilter
from trainer.losses.moon import MoonLoss
from trainer.losses.objectives import ObjectiveWeights
from trainer.training.suspects import rejected

ROWS = 7


def random_step(views: int) -> tuple[list[dict[str, Tensor]], Tensor, Tensor]:
    """Columns, labels without any key in common, and samples: one view's objectives vary, several views are fixed."""
    generator = torch.Generator().manual_seed(views)
    columns = torch.randn(views + 2, ROWS, FEATURES, generator=generator, dtype=torch.double)
    objectives = torch.tensor([[0, 2, 1, 0, 2, 0, 1]]).T if views == 1 else torch.tensor([[2, 0]]).expand(ROWS, 2)
    samples = torch.stack([torch.arange(ROWS), torch.arange(ROWS) + 100], dim=1)[:, None].expand(-1, views, -1)
    samples = torch.cat([samples, objectives[..., None]], dim=2)
    return [{"input_ids": own} for own in columns], torch.zeros(ROWS, views + 2, KEYS, dtype=torch.long), samples


def plain(loss: MoonLoss, columns: list[dict[str, Tensor]], samples: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and what is trained besides, of a first step without masks and past batches."""
    *queries, positives, negatives = (normalize(loss.model(column)["sentence_embedding"]) for column in columns)
    documents = torch.cat([positives, negatives])
    routing = [loss.model.routing(column) for column in columns[: len(queries)]]
    objectives = [samples[:, view, 2] for view in range(len(queries))]
    of_objective = torch.ones(3)
    besides = torch.zeros(())
    if (weighing := loss.objective_weights) is not None:
        p = weighing.matrix.softmax(dim=1)
        use = [torch.cat(routing)[torch.cat(objectives) == m].mean(dim=0) for m in set(torch.cat(objectives).tolist())]
        present = sorted(set(torch.cat(objectives).tolist()))
        of_present = torch.stack([(p[:, m] * own).sum() for m, own in zip(present, use, strict=True)])
        entropy = -(p * p.log()).sum(dim=1).mean()
        besides = weighing.sparsity * entropy
        if not weighing.trains_routers:
            of_present = (of_present / of_present.mean()).clamp(0.5, 2.0).detach()
            cross = [(own.detach() * p[:, m].log()).sum() for m, own in zip(present, use, strict=True)]
            besides = besides - torch.stack(cross).mean()
        of_objective = of_objective.index_put((torch.tensor(present),), of_present)
    total = torch.zeros(())
    for vectors, objective in zip(queries, objectives, strict=True):
        for row in range(ROWS):
            scores = vectors[row] @ documents.T
            one = cross_entropy(scores[None] / loss.temperature, torch.tensor([row]))
            if loss.sample_filter is not None:
                phi = torch.sigmoid(10 * (scores[row] - scores[ROWS + row] - 0.1)).item()
                one = one * min(1.0, phi / 0.6)
            total = total + of_objective[objective[row]] * one
    return total / ROWS, besides


@pytest.mark.parametrize("mini_batch_size", [None, 3])
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("filtering", [False, True])
@pytest.mark.parametrize("weighing", [None, "literal", "balanced"])
def test_values_and_gradients_equal_a_plain_sum(weighing, filtering, views, mini_batch_size):
    weights = ObjectiveWeights(3, 3, weighing, sparsity=0.1) if weighing else None
    if weights is not None:
        nn.init.normal_(weights.matrix)
    loss = MoonLoss(
        RoutedTower(),
        margin=None,
        past_batches=0,
        mini_batch_size=mini_batch_size,
        objective_weights=weights,
        sample_filter=SampleFilter(5) if filtering else None,
    )
    columns, labels, loss.samples = random_step(views)
    expected, besides = plain(loss, columns, loss.samples)
    (0.5 * (expected + besides)).backward()
    reference = gradients(loss)
    loss.zero_grad()
    value = loss([dict(column) for column in columns], labels)
    (0.5 * value).backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(loss).items():
        torch.testing.assert_close(gradient, reference[name], rtol=1e-3, atol=1e-5, msg=name)
    if weights is not None:
        assert weights.matrix.grad.abs().sum() > 0


def test_balanced_weights_send_no_gradient_to_the_routers():
    """Constant embeddings leave the routers what the weights would send; literal ones do send something."""
    found = {}
    for weighing in ("literal", "balanced"):
        tower = RoutedTower()
        loss = MoonLoss(tower, margin=None, past_batches=0, objective_weights=ObjectiveWeights(3, 3, weighing))
        nn.init.normal_(loss.objective_weights.matrix)
        columns, labels, loss.samples = random_step(1)
        tower.experts.mix = lambda flat, weights: flat
        loss(columns, labels).backward()
        found[weighing] = tower.experts.router.weight.grad
    assert found["literal"].abs().sum() > 0
    assert found["balanced"] is None


def test_without_weights_no_layer_is_watched_and_filtered_samples_that_count_in_full_change_nothing():
    columns, labels, samples = random_step(1)
    found = []
    for keep in (False, True):
        tower, watched = RoutedTower(), []
        tower.experts.register_forward_hook(lambda layer, *_, watched=watched: watched.append(len(layer.observers)))
        loss = MoonLoss(tower, past_batches=0, sample_filter=(lambda *_: torch.ones(ROWS)) if keep else None)
        loss.samples = samples if keep else None
        value = loss(columns, labels)
        value.backward()
        found.append({"value": value.detach(), **gradients(loss)})
        assert watched == [0, 0, 0]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_evaluation_weighs_nothing_and_keeps_no_sample():
    columns, labels, samples = random_step(1)
    options = {"objective_weights": ObjectiveWeights(3, 3, "balanced"), "sample_filter": SampleFilter(5)}
    weighed, bare = MoonLoss(RoutedTower(), **options).eval(), MoonLoss(RoutedTower()).eval()
    weighed.samples = samples
    assert weighed(columns, labels).item() == pytest.approx(bare(columns, labels).item(), rel=1e-6)
    assert weighed.sample_filter.unread == 0


class Given(ObjectiveWeights):
    """Weights that do not depend on the batch."""

    def __init__(self, given: Sequence[float]) -> None:
        super().__init__(3, 3, "balanced")
        self.given = torch.tensor(given)

    def weights(self, use: Tensor, samples: Tensor, matrix: Tensor) -> Tensor:
        return self.given


def asked(given: Sequence[float], chosen: Sequence[int]) -> Tensor:
    """The loss of a step that asks for each of its triplets by one of three views."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(5, len(chosen), FEATURES, generator=generator, dtype=torch.double)
    labels = torch.zeros(len(chosen), 5, KEYS, dtype=torch.long)
    labels[:, :3, 0] = ABSENT
    labels[range(len(chosen)), chosen, 0] = 0
    loss = MoonLoss(RoutedTower(), margin=None, past_batches=0, objective_weights=Given(given))
    loss.samples = torch.tensor([[[row, 0, view] for view in range(3)] for row in range(len(chosen))])
    there = labels[:, :, 0] != ABSENT
    return loss([{"input_ids": columns[place, there[:, place]]} for place in range(5) if there[:, place].any()], labels)


@pytest.mark.parametrize("given", [(0.5, 0.7, 1.8), (0.2, 0.3, 0.4)])
def test_views_drawn_evenly_and_weighed_are_on_average_views_drawn_by_weight_times_the_mean_weight(given):
    draws = [*product(range(3), repeat=2)]
    evenly = sum(asked(given, chosen).item() for chosen in draws) / len(draws)
    chances = [given[a] * given[b] / sum(given) ** 2 for a, b in draws]
    by_weight = sum(p * asked((1.0, 1.0, 1.0), chosen).item() for p, chosen in zip(chances, draws, strict=True))
    assert evenly == pytest.approx(by_weight * sum(given) / 3, rel=1e-5)


def test_samples_that_are_needed_and_not_set_are_named():
    columns, labels, _ = random_step(1)
    with pytest.raises(ValueError, match="need samples"):
        MoonLoss(RoutedTower(), sample_filter=SampleFilter(5))(columns, labels)


def test_wrong_positives_are_rejected_first():
    """Six of forty queries have a positive that is nothing like what they ask for."""
    generator = torch.Generator().manual_seed(0)
    products = torch.randn(40, FEATURES, generator=generator, dtype=torch.double)
    queries = products + 0.1 * torch.randn(40, FEATURES, generator=generator, dtype=torch.double)
    wrong = [3, 9, 14, 22, 31, 38]
    positives = products.clone()
    positives[wrong] *= -1
    loss = MoonLoss(RoutedTower(), margin=None, past_batches=0, sample_filter=SampleFilter(20))
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    labels = torch.zeros(8, 3, KEYS, dtype=torch.long)
    for rows in (rows for _ in range(4) for rows in torch.randperm(40, generator=generator).split(8)):
        negatives = products[(rows + torch.randint(1, 40, (8,), generator=generator)) % 40]
        loss.samples = torch.stack([rows, rows, torch.zeros_like(rows)], dim=1)[:, None]
        optimizer.zero_grad()
        loss([{"input_ids": column} for column in (queries[rows], positives[rows], negatives)], labels).backward()
        optimizer.step()
    found = [entry["record"] for entry in rejected(loss.sample_filter.read())["rejected"]]
    assert sorted(found[: len(wrong)]) == wrong
