"""Triplets of query, positive and hard negative, sampled from the home-goods set (paper, section 6).

Query mix image : text : image+text = 12 : 3 : 2; the target always has pictures and text. Fields are dropped at random
so that no label becomes a shortcut (our decision: category 0.3, attributes 0.5, title 0.1, crop 0.2).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.moon.prompt import attribute_text, category_text, label_text, query_text
from app.moon.segments import mark
from app.schema import CATEGORY_SEPARATOR
from trainer.data.home import HomeProduct, HomeSet, Photo
from trainer.data.views import View

MODALITIES = ("image", "text", "both")
MIX = (12, 3, 2)
DROP_CATEGORY, DROP_ATTRIBUTES, DROP_TITLE, DROP_CROP = 0.3, 0.5, 0.1, 0.2
PHRASES = ("in {}", "the same in {}", "same {kind} but in {}", "{} version")


@dataclass(frozen=True)
class Input:
    """What the model reads: views with a mirror flag each, then marked text."""

    views: tuple[tuple[View, bool], ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Example:
    """A triplet; ``same`` names what makes another product a false negative for this query, see :func:`labels`."""

    query: Input
    positive: Input
    negative: Input
    positive_id: str
    negative_id: str
    same: str


@dataclass
class TripletSampler:
    """Endless triplets of one split, repeatable for a seed."""

    home: HomeSet
    seed: int
    split: str = "train"
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)  # noqa: S311
        self.products = {p.product.id: p for p in self.home.products if p.split == self.split}
        self.photos: dict[str, list[Photo]] = defaultdict(list)
        for photo in self.home.photos:
            if photo.split == self.split and not photo.shows_test_model:
                self.photos[photo.product_id].append(photo)
        self.groups: dict[str, list[HomeProduct]] = defaultdict(list)
        for product in self.products.values():
            self.groups[product.product.group_id or product.product.id].append(product)
        self.with_photo = sorted(self.photos)
        self.kinds: dict[str, list[HomeProduct]] = defaultdict(list)
        for product in self.products.values():
            for kind in product.kinds:
                self.kinds[kind].append(product)

    def batches(self, size: int) -> Iterator[list[Example]]:
        """Batches of distinct product groups, so that no positive is another query's false negative by design."""
        while True:
            batch: list[Example] = []
            groups: set[str | None] = set()
            while len(batch) < size:
                example = self.example()
                group = self.products[example.positive_id].product.group_id
                if group not in groups:
                    groups.add(group)
                    batch.append(example)
            yield batch

    def example(self) -> Example:
        modality = self.rng.choices(MODALITIES, MIX)[0]
        if modality == "text":
            return self._text_example()
        source = self.products[self.rng.choice(self.with_photo)]
        if modality == "image":
            return self._triplet(Input(self._query_views(source)), source, f"sku:{source.product.id}")
        siblings = [p for p in self._siblings(source) if _colour(p) != _colour(source)]
        if siblings and self.rng.random() < 0.6:
            return self._recoloured(source, self.rng.choice(siblings))
        text = query_text(self.rng.choice([source.product.title, dict(source.names)["en"]]))
        return self._triplet(Input(self._query_views(source), text), source, f"sku:{source.product.id}")

    def _recoloured(self, source: HomeProduct, target: HomeProduct) -> Example:
        """Photo of one colour, words for another; ignoring the words finds the hard negative."""
        phrase = self.rng.choice(PHRASES).format(_colour(target), kind=source.kinds[0])
        query = Input(self._query_views(source), query_text(phrase))
        return self._triplet(query, target, f"sku:{target.product.id}", negative=source)

    def _text_example(self) -> Example:
        target = self.rng.choice(list(self.products.values()))
        english, colour = dict(target.names)["en"], _colour(target)
        draw = self.rng.random()
        if draw < 0.30:
            return self._text(query_text(self._noisy(english)), target, f"kind:{target.kinds[0]}")
        if draw < 0.45:
            return self._text(query_text(self._noisy(target.product.title)), target, f"kind:{target.kinds[0]}|{colour}")
        if draw < 0.65:
            _, name = self.rng.choice(target.names)
            return self._text(query_text(name), target, f"kind:{target.kinds[0]}")
        if draw < 0.80:
            kind = self.rng.choice(target.kinds)
            words = self.rng.choice([kind, *self.home.kind_phrases.get(kind, [])])
            if self.rng.random() < 0.3 and colour:
                return self._text(query_text(f"{colour} {words}"), target, f"kind:{kind}|{colour}")
            return self._text(query_text(words), target, f"kind:{kind}")
        if draw < 0.93:
            depth = self.rng.randint(1, len(target.product.category))
            path = CATEGORY_SEPARATOR.join(target.product.category[:depth])
            return self._text(label_text(path, "category"), target, f"category:{path}", labels=False)
        key = self.rng.choice(sorted(target.product.attributes))
        value = self.rng.choice(target.product.attributes[key])
        return self._text(label_text(f"{key}: {value}", "attribute"), target, f"value:{key}: {value}", labels=False)

    def _text(self, text: str, target: HomeProduct, same: str, labels: bool = True) -> Example:
        return self._triplet(Input(text=text), target, same, labels=labels)

    def _triplet(
        self, query: Input, target: HomeProduct, same: str, negative: HomeProduct | None = None, labels: bool = True
    ) -> Example:
        negative = negative or self._hard_negative(target, same)
        category = labels and self.rng.random() >= DROP_CATEGORY
        return Example(
            query,
            self._document(target, category, labels),
            self._document(negative, category, labels),
            target.product.id,
            negative.product.id,
            same,
        )

    def _hard_negative(self, target: HomeProduct, same: str) -> HomeProduct:
        """Same category, other product; never one that the query could just as well mean."""
        candidates = [self.products[key] for key in target.hard_negatives if key in self.products]
        candidates = [product for product in candidates if same not in relevance(product)]
        return self.rng.choice(candidates or list(self.products.values()))

    def _document(self, item: HomeProduct, category: bool, labels: bool) -> Input:
        product = item.product
        count = min(len(product.images), 1 if self.rng.random() < 0.75 else 2)
        views = tuple((View(path), self.rng.random() < 0.5) for path in self.rng.sample(product.images, count))
        title = product.title
        if product.titles and self.rng.random() < 0.1:
            title = self.rng.choice(sorted(product.titles.values()))
        parts = "" if self.rng.random() < DROP_TITLE else mark("title", title)
        if category:
            parts += category_text(product.category)
        if labels and self.rng.random() >= DROP_ATTRIBUTES:
            parts += attribute_text(product.attributes)
        return Input(views, parts)

    def _query_views(self, item: HomeProduct) -> tuple[tuple[View, bool], ...]:
        photo = self.rng.choice(self.photos[item.product.id])
        frames, crops = photo.variants()
        flip = self.rng.random() < 0.5
        crop = self.rng.choice([photo.boxed, *crops])
        if self.rng.random() < 0.15:
            return ((crop, flip),)
        whole = (self.rng.choice([photo.whole, photo.whole, *frames]), flip)
        return (whole,) if self.rng.random() < DROP_CROP else (whole, (crop, flip))

    def _siblings(self, item: HomeProduct) -> list[HomeProduct]:
        return [p for p in self.groups[item.product.group_id or ""] if p.product.id != item.product.id]

    def _noisy(self, text: str) -> str:
        """Now and then a typing error or another order of words, as shoppers write."""
        draw = self.rng.random()
        if draw < 0.1 and len(text) > 4:
            place = self.rng.randrange(1, len(text) - 1)
            return text[:place] + text[place + 1 :]
        if draw < 0.2:
            words = text.split()
            self.rng.shuffle(words)
            return " ".join(words)
        return text


def _colour(item: HomeProduct) -> str:
    return next(iter(item.product.attributes.get("color", [])), "")


def relevance(item: HomeProduct) -> set[str]:
    """Everything a query may mean for which this product is a right answer (see ``Example.same``)."""
    product, colour = item.product, _colour(item)
    found = {f"sku:{product.id}"}
    for kind in item.kinds:
        found |= {f"kind:{kind}", f"kind:{kind}|{colour}"}
    for depth in range(len(product.category)):
        found.add("category:" + CATEGORY_SEPARATOR.join(product.category[: depth + 1]))
    found |= {f"value:{key}: {value}" for key, values in product.attributes.items() for value in values}
    return found


def false_negatives(batch: Sequence[Example], products: dict[str, HomeProduct]) -> list[list[bool]]:
    """Which of the 2B documents (positives, then hard negatives) must not count as negatives of each query.

    Masked are: documents the query means just as well, and SKUs of the positive's model, except the query's own hard
    negative, which was chosen as an answer that is wrong.
    """
    documents = [example.positive_id for example in batch] + [example.negative_id for example in batch]
    meanings = {key: relevance(products[key]) for key in set(documents)}
    masks = []
    for row, example in enumerate(batch):
        group = products[example.positive_id].product.group_id
        mask = [example.same in meanings[key] or products[key].product.group_id == group for key in documents]
        mask[row] = False
        mask[len(batch) + row] = example.same in meanings[example.negative_id]
        masks.append(mask)
    return masks
