"""What words in common with a product should count beside a photo, on the home-goods set.

    python benchmarks/mixed.py [--split dev]

Customer photos, with their true box, are asked with the wish for another colour of their product in several wordings,
with its title, and with its English name. Prints by what words count how often the product that is meant comes first:
the one in the colour wished for, or the photo's own. Development designs ask all designs but those of the test split,
held-out ones (``--split test``) all.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from app.fusion import DEPTH, best_first
from app.moon import load_encoder
from app.schema import Filters, Query
from app.settings import ROOT, Settings
from app.store.points import point_id
from trainer.data.home import DevelopmentSet, HomeProduct, HomeSet, Photo
from trainer.data.home_corpus import colour_of
from trainer.evaluation.fused import FusedSearch
from trainer.evaluation.gallery import Gallery

WISHES = ("in {0}", "{0} version", "the same in {0}", "same {1} but in {0}", "{0} {1}")
WEIGHTS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)


class Asked(NamedTuple):
    """A photo, words of a wording, and the product that they mean together."""

    wording: str
    photo: Photo
    text: str
    meant: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    split = parser.parse_args().split
    home, settings = (DevelopmentSet if split == "dev" else HomeSet)(ROOT / "demo"), Settings()
    gallery = Gallery(home, load_encoder(settings), None, settings)
    asked = sorted(questions(home, split), key=lambda one: one.wording)
    print(f"{settings.model}, {split}: {len(gallery.products)} products; how often the one that is meant comes first\n")
    print("| words \\ what they count | n | " + " | ".join(f"{weight:g}" for weight in WEIGHTS) + " |")
    print("| --- |" + " ---: |" * (len(WEIGHTS) + 1))
    with FusedSearch(gallery.products, gallery.vectors) as search:
        for wording, rows in groupby(asked, key=lambda one: one.wording):
            own = list(rows)
            shares = " | ".join(f"{share:.3f}" for share in first_hits(gallery, search, own))
            print(f"| {wording} | {len(own)} | {shares} |", flush=True)


def questions(home: HomeSet, split: str) -> Iterator[Asked]:
    """Of every photo; the other colours of a design take turns."""
    products = {item.product.id: item for item in home.products}
    groups: dict[str, list[HomeProduct]] = defaultdict(list)
    for item in home.products:
        groups[item.product.group_id or item.product.id].append(item)
    for number, photo in enumerate(photo for photo in home.photos if photo.split == split):
        source = products[photo.product_id]
        yield Asked("title", photo, source.product.title, photo.product_id)
        yield Asked("English name", photo, dict(source.names)["en"], photo.product_id)
        others = [item for item in groups[photo.group_id] if colour_of(item) not in ("", colour_of(source))]
        if others:
            other = others[number % len(others)]
            for wish in WISHES:
                text = wish.format(colour_of(other), source.kinds[0])
                yield Asked(wish.format("<colour>", "<kind>"), photo, text, other.product.id)


def first_hits(gallery: Gallery, search: FusedSearch, asked: Sequence[Asked]) -> list[float]:
    """Share of the questions whose first hit is the product that is meant, by :data:`WEIGHTS`."""
    queries = [Query(one.text, gallery.read(one.photo.path), one.photo.box) for one in asked]
    right = [0] * len(WEIGHTS)
    for one, vector in zip(asked, gallery.embed(queries, asked[0].wording)[0], strict=True):
        candidates = search.index.candidates(vector, one.text, Filters(), DEPTH)
        for place, weight in enumerate(WEIGHTS):
            right[place] += best_first(candidates, weight)[0][0] == point_id(one.meant)
    return [count / len(asked) for count in right]


if __name__ == "__main__":
    main()
