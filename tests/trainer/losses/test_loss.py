from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from trainer.losses.infonce import InfoNCE


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def plain_loss(queries, documents, masked, temperature: float, margin: float) -> float:
    """Equation 5, one query and one negative at a time."""
    losses = []
    for row, query in enumerate(queries):
        positive = query @ documents[row]
        total = np.exp(positive / temperature)
        for column, document in enumerate(documents):
            similarity = query @ document
            if column != row and not masked[row][column] and similarity <= positive + margin:
                total += np.exp(similarity / temperature)
        losses.append(-np.log(np.exp(positive / temperature) / total))
    return float(np.mean(losses))


@pytest.mark.parametrize("margin", [-0.5, 0.1, 2.0])
def test_loss_equals_the_plain_formula_with_masks_and_margin(margin):
    queries, documents = unit(5, 8), unit(10, 8, seed=1)
    masked = torch.rand(5, 10, generator=torch.Generator().manual_seed(2)) < 0.3
    expected = plain_loss(queries.double().numpy(), documents.double().numpy(), masked.numpy(), 0.05, margin)
    assert InfoNCE(margin=margin)(queries, documents, masked).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_negative_far_above_the_positive_counts_as_an_unlabelled_positive():
    queries = torch.tensor([[1.0, 0.0]])
    documents = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    assert InfoNCE(margin=0.1)(queries, documents, torch.zeros(1, 2, dtype=torch.bool)).item() == 0.0
    assert InfoNCE(margin=0.5)(queries, documents, torch.zeros(1, 2, dtype=torch.bool)).item() > 1.0


def test_gradient_pulls_the_positive_and_pushes_hard_negatives_of_all_queries_away():
    queries = unit(3, 8)
    documents = normalize(torch.cat([queries, queries]) + 0.4 * unit(6, 8, seed=3), dim=1).requires_grad_()
    InfoNCE(margin=2.0)(queries, documents, torch.zeros(3, 6, dtype=torch.bool)).backward()
    step = (queries @ -documents.grad.T).detach()
    for row in range(3):
        assert step[row, row] > 0
        assert step[row, 3 + row] < 0


def test_masked_documents_receive_no_gradient():
    documents = unit(4, 8, seed=1).requires_grad_()
    masked = torch.zeros(2, 4, dtype=torch.bool)
    masked[:, 3] = True
    InfoNCE(margin=2.0)(unit(2, 8), documents, masked).backward()
    assert documents.grad[3].abs().max() == 0
    assert documents.grad[2].abs().max() > 0


def test_the_positive_is_never_left_out_even_if_masked():
    queries, documents = unit(2, 8), unit(4, 8, seed=1)
    loss = InfoNCE()(queries, documents, torch.ones(2, 4, dtype=torch.bool))
    assert loss.item() == 0.0


def test_temperature_is_learned_within_its_limits():
    loss = InfoNCE()
    assert loss.temperature.item() == pytest.approx(0.05)
    for value, limit in ((-9.0, 0.01), (3.0, 0.1)):
        loss.log_temperature.data.fill_(value)
        assert loss.temperature.item() == pytest.approx(limit)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="expected 2 documents per query"):
        InfoNCE()(unit(3, 8), unit(3, 8), torch.zeros(3, 3, dtype=torch.bool))
