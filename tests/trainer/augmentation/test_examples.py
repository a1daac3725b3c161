from __future__ import annotations

from trainer.augmentation.examples import DRAWN, WORST, Examples
from trainer.augmentation.kept import Candidate

PRODUCTS = 300


def shown(seed: int = 0) -> Examples:
    """Of every product a title, kept, a picture, rejected, and one that could not be made; scores fall with the row."""
    examples = Examples(PRODUCTS, seed)
    for row in range(PRODUCTS):
        made = [
            Candidate("title", f"Title {row}", score=1 - row / PRODUCTS),
            Candidate("crop", f"{row}.webp", picture=0, score=0.1),
            Candidate("ground", picture=0),
        ]
        examples.add(row, made, ["", "too far", "no box"])
    return examples


def test_the_worst_of_the_kept_are_shown_the_least_first():
    assert [row for row, _, _ in shown().worst] == list(range(PRODUCTS - 1, PRODUCTS - 1 - WORST, -1))
    assert {(one.kind, reason) for _, made, reasons in shown().worst for one in made for reason in reasons} == {
        ("title", "")
    }


def test_among_alike_scores_the_first_products_are_shown():
    examples = Examples(PRODUCTS, 0)
    for row in range(PRODUCTS):
        examples.add(row, [Candidate("title", "x", score=0.5)], [""])
    assert [row for row, _, _ in examples.worst] == list(range(WORST))


def test_rejected_ones_are_drawn_at_random_among_what_was_made():
    found = shown().rejected
    assert len(found) == WORST
    assert {(one.kind, reason) for _, made, reasons in found for one in made for reason in reasons} == {
        ("crop", "too far")
    }
    rows = [row for row, _, _ in found]
    assert len(set(rows)) == WORST
    assert max(rows) > PRODUCTS / 2
    assert rows == [row for row, _, _ in shown().rejected]
    assert rows != [row for row, _, _ in shown(1).rejected]


def test_products_are_drawn_with_all_that_was_made_of_them():
    found = shown().drawn
    assert len(found) == DRAWN
    assert all(len(made) == len(reasons) == 3 for _, made, reasons in found)


def test_few_products_are_all_shown():
    examples = Examples(1, 0)
    examples.add(7, [Candidate("title", "x", score=0.5)], ["too far"])
    assert ([row for row, _, _ in examples.drawn], len(examples.rejected), examples.worst) == ([7], 1, [])
