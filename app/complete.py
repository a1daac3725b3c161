"""What a product of a catalog lacks, filled in from what it shows: category, attribute values and title.

Neighbours vote for labels as in every prediction (:mod:`app.predict`); titles are composed. All of it is our decision:
MOON2.0 learns from all three views of a product, so that incomplete ones are found, but it completes none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal, NamedTuple, Protocol

from PIL.Image import Image

from app.errors import BadInputError
from app.predict import Predictor, Unpredicted, Voted
from app.schema import CATEGORY_SEPARATOR, Candidate, Hit, Product, category_levels

Source = Literal["neighbours", "composed", "generated"]
TITLE, CATEGORY, ATTRIBUTE = "title", "category", "attributes."
CHOICES = 10
"""Candidates of a field that a generator chooses from."""
NAMED = 5
"""Neighbours that are named for a value, and titles that a new one takes words from."""
USUAL = 0.5
"""An attribute is missing if so many of the voters have it, and part of titles if so many titles hold its value."""
LEAST_CONFIDENCE = 0.5
"""From this probability on a proposal is filled in."""

_WORD = re.compile(r"\w+")


class Proposal(NamedTuple):
    """A value for a field that a product lacks; ``field`` is title, category or ``attributes.<key>``.

    ``confidence`` is its probability (of a title that of its least probable part, None: generated), ``sure`` as in
    :class:`app.schema.Sure` (None: the model cannot tell), ``neighbours`` the ids of the nearest products that say so.
    """

    field: str
    value: str
    confidence: float | None
    sure: bool | None
    source: Source
    neighbours: tuple[str, ...]


@dataclass(frozen=True)
class Completed:
    """A product with the fields that were filled in, and every proposal; what it had before is as it was."""

    product: Product
    proposals: list[Proposal] = field(default_factory=list)
    filled: frozenset[str] = frozenset()


class Generator(Protocol):
    """Names what a product lacks by looking at it."""

    def generate(self, product: Product, image: Image | None, missing: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Values by missing field, each one of the field's choices; a title, which has none, in its own words."""


class _NoGenerator:
    def generate(self, product: Product, image: Image | None, missing: Mapping[str, Sequence[str]]) -> dict[str, str]:
        return {}


class Completer:
    """Completes products by the vote of the published index, and by a ``generator`` where the vote does not decide.

    Proposals of at least the probability ``least`` are filled in. A generator also writes the titles.
    """

    def __init__(
        self, predictor: Predictor, least: float = LEAST_CONFIDENCE, generator: Generator | None = None
    ) -> None:
        self._predictor, self._least, self._generator = predictor, least, generator or _NoGenerator()

    def complete_many(
        self, products: Sequence[Product], images: Sequence[Sequence[Image]]
    ) -> list[Completed | BadInputError]:
        """Each product with its decoded pictures, of which the main one is looked at; an error in place of one fails.

        Raises IndexUnavailableError while no build is published.
        """
        mains = [next(iter(own), None) for own in images]
        shown = [Unpredicted(product.title, main) for product, main in zip(products, mains, strict=True)]
        outcomes = self._predictor.vote_many(shown, CHOICES)
        return [
            self._completed(product, main, voted) if isinstance(voted, Voted) else voted
            for product, main, voted in zip(products, mains, outcomes, strict=True)
        ]

    def _completed(self, product: Product, main: Image | None, voted: Voted) -> Completed:
        proposals = label_proposals(product, voted, self._least)
        found = _filled(product, [one for one in proposals if self._is_enough(one)])
        if not product.title and (title := composed_title(found, proposals, voted.nearest)):
            proposals.append(title)
        proposals = self._generated(product, found, main, voted, proposals)
        enough = [one for one in proposals if self._is_enough(one)]
        return Completed(_filled(product, enough), proposals, frozenset(one.field for one in enough))

    def _is_enough(self, proposal: Proposal) -> bool:
        return proposal.confidence is None or proposal.confidence >= self._least

    def _generated(
        self, product: Product, found: Product, main: Image | None, voted: Voted, proposals: list[Proposal]
    ) -> list[Proposal]:
        """The proposals, with the generator's in place of those that would not be filled in, and of the title's."""
        missing = {one.field: _choices(one.field, voted) for one in proposals if not self._is_enough(one)}
        if not product.title:
            missing[TITLE] = []
        written = self._generator.generate(found, main, missing) if missing else {}
        own = [Proposal(name, value, None, None, "generated", ()) for name, value in written.items()]
        return [*(one for one in proposals if one.field not in written), *own]


def label_proposals(product: Product, voted: Voted, least: float) -> list[Proposal]:
    """The category if the product has none, and a value of each attribute that it lacks.

    The category goes down to the last level that is as probable as ``least``; without one, to the last. A product lacks
    an attribute that at least half of its neighbours have.
    """
    prediction, nearest = voted
    sure = prediction.sure
    proposals = []
    if not product.category and prediction.categories:
        bests = [level[0] for level in prediction.categories]
        depth = len(list(takewhile(lambda best: best.probability >= least, bests))) - 1
        near = [hit for hit in nearest if bests[depth].label in category_levels(hit.product.category)]
        proposals.append(_voted(CATEGORY, bests[depth], sure.categories[depth] if sure else None, near))
    for key, candidates in prediction.attributes.items():
        carriers = [hit for hit in nearest if hit.product.attributes.get(key)]
        if candidates and not product.attributes.get(key) and len(carriers) >= USUAL * len(nearest):
            near = [hit for hit in carriers if candidates[0].label in hit.product.attributes[key]]
            proposals.append(_voted(ATTRIBUTE + key, candidates[0], sure.attributes.get(key) if sure else None, near))
    return proposals


def composed_title(product: Product, proposals: Sequence[Proposal], nearest: Sequence[Hit]) -> Proposal | None:
    """A title from the product's labels and the words that most titles of the nearest products share; None: no words.

    Values come first, of attributes whose values stand in titles, then the common words, then the category's last name
    unless they hold one of its words. No word is taken from one neighbour alone.
    """
    titled = [hit.product for hit in nearest if hit.product.title][:NAMED]
    keys = [key for key in product.attributes if _in_titles(key, titled)]
    values = [product.attributes[key][0] for key in keys]
    words = _common_words(titled, keys)
    held = {word.casefold() for word in words}
    leaf = [name for name in product.category[-1:] if held.isdisjoint(_words(name.casefold()))]
    parts = list(dict.fromkeys([*values, *words, *leaf]))
    if not parts:
        return None
    used = {ATTRIBUTE + key for key in keys} | ({CATEGORY} if leaf else set())
    trusted = [one.confidence for one in proposals if one.field in used and one.confidence is not None]
    title = " ".join(parts)
    ids = tuple(one.id for one in titled)
    return Proposal(TITLE, title[0].upper() + title[1:], min([*trusted, *words.values(), 1.0]), None, "composed", ids)


def _in_titles(key: str, products: Sequence[Product]) -> bool:
    carriers = [product for product in products if product.attributes.get(key)]
    holding = [product for product in carriers if _holds_value(product.title, product, key)]
    return bool(carriers) and len(holding) >= USUAL * len(carriers)


def _holds_value(text: str, product: Product, key: str) -> bool:
    return any(value.casefold() in text.casefold() for value in product.attributes.get(key, []))


def _common_words(products: Sequence[Product], keys: Sequence[str]) -> dict[str, float]:
    """Words that most titles share and how many do, in the order of the nearest; values of ``keys`` are left out."""
    own = [
        [word for word in _words(product.title) if not any(_holds_value(word, product, key) for key in keys)]
        for product in products
    ]
    spelled = {word.casefold(): word for words in reversed(own) for word in reversed(words)}
    counted = Counter(word for words in own for word in {word.casefold() for word in words})
    nearest_first = dict.fromkeys(word.casefold() for words in own for word in words)
    return {
        spelled[word]: counted[word] / len(own) for word in nearest_first if counted[word] > max(1, USUAL * len(own))
    }


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _voted(name: str, best: Candidate, sure: bool | None, near: Sequence[Hit]) -> Proposal:
    ids = tuple(hit.product.id for hit in near[:NAMED])
    return Proposal(name, best.label, best.probability, sure, "neighbours", ids)


def _choices(name: str, voted: Voted) -> list[str]:
    levels, attributes = voted.prediction.categories, voted.prediction.attributes
    candidates = levels[-1] if name == CATEGORY else attributes.get(name.removeprefix(ATTRIBUTE), [])
    return [candidate.label for candidate in candidates]


def _filled(product: Product, proposals: Sequence[Proposal]) -> Product:
    """A copy with the values of ``proposals``, all of which are of fields that the product lacks."""
    values = {one.field: one.value for one in proposals}
    attributes = {name.removeprefix(ATTRIBUTE): [value] for name, value in values.items() if name.startswith(ATTRIBUTE)}
    return product.model_copy(
        update={
            "title": product.title or values.get(TITLE, ""),
            "category": product.category or (values[CATEGORY].split(CATEGORY_SEPARATOR) if CATEGORY in values else []),
            "attributes": {**product.attributes, **attributes},
        }
    )
