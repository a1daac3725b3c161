"""What words in common with a product should count beside a photo, on the home-goods set.

    python benchmarks/mixed.py [--split dev]

Customer photos, with their true box, are asked with the wish for another colour of their product in several wordings,
with its title, and with its English name. Prints by what words count how often the product that is meant comes first:
the one in the colour wished for, or the photo's own. A second table has the wishes as "This, but ..." asks them: by the
product's main picture and by its stored vector, every product for every other colour, without the product itself.
Development designs ask all designs but those of the test split, held-out ones (``--split test``) all.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, product
from typing import NamedTuple

import numpy as np

from app.balance import EVEN, wished
from app.encoder import Vectors
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
    """Words of a wording with a photo or a product, and the product that they mean together."""

    wording: str
    text: str
    meant: str
    photo: Photo | None = None
    like: str = ""


Embed = Callable[[Gallery, Sequence[Asked]], Vectors]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    split = parser.parse_args().split
    home, settings = (DevelopmentSet if split == "dev" else HomeSet)(ROOT / "demo"), Settings()
    gallery = Gallery(home, load_encoder(settings), None, settings)
    print(f"{settings.model}, {split}: {len(gallery.products)} products; how often the one that is meant comes first")
    with FusedSearch(gallery.products, gallery.vectors) as search:
        table("customer photo and", gallery, search, photo_questions(home, split), by_photo)
        wishes = list(product_questions(home, split))
        table("product's picture and", gallery, search, wishes, by_picture)
        table("stored vector and", gallery, search, wishes, by_vector)


def table(title: str, gallery: Gallery, search: FusedSearch, asked: Iterable[Asked], embed: Embed) -> None:
    """One row for each wording."""
    print(f"\n| {title} | n | " + " | ".join(f"{weight:g}" for weight in WEIGHTS) + " |")
    print("| --- |" + " ---: |" * (len(WEIGHTS) + 1))
    for wording, rows in groupby(sorted(asked, key=lambda one: one.wording), key=lambda one: one.wording):
        own = list(rows)
        shares = " | ".join(f"{share:.3f}" for share in first_hits(search, own, embed(gallery, own)))
        print(f"| {wording} | {len(own)} | {shares} |", flush=True)


def photo_questions(home: HomeSet, split: str) -> Iterator[Asked]:
    """Of every photo; the other colours of a design take turns."""
    products, groups = by_id_and_group(home)
    for number, photo in enumerate(photo for photo in home.photos if photo.split == split):
        source = products[photo.product_id]
        yield Asked("title", source.product.title, photo.product_id, photo)
        yield Asked("English name", dict(source.names)["en"], photo.product_id, photo)
        if others := other_colours(source, groups):
            other = others[number % len(others)]
            for wish in WISHES:
                text = wish.format(colour_of(other), source.kinds[0])
                yield Asked(wish.format("<colour>", "<kind>"), text, other.product.id, photo)


def product_questions(home: HomeSet, split: str) -> Iterator[Asked]:
    """Of every product with a picture, for every other colour."""
    products, groups = by_id_and_group(home)
    for source in products.values():
        if source.split == split and source.product.images:
            for other, wish in product(other_colours(source, groups), WISHES):
                text = wish.format(colour_of(other), source.kinds[0])
                yield Asked(wish.format("<colour>", "<kind>"), text, other.product.id, like=source.product.id)


def by_id_and_group(home: HomeSet) -> tuple[dict[str, HomeProduct], dict[str, list[HomeProduct]]]:
    groups: dict[str, list[HomeProduct]] = defaultdict(list)
    for item in home.products:
        groups[item.product.group_id or item.product.id].append(item)
    return {item.product.id: item for item in home.products}, groups


def other_colours(source: HomeProduct, groups: Mapping[str, Sequence[HomeProduct]]) -> list[HomeProduct]:
    own = groups[source.product.group_id or source.product.id]
    return [item for item in own if colour_of(item) not in ("", colour_of(source))]


def by_photo(gallery: Gallery, asked: Sequence[Asked]) -> Vectors:
    photos = [one.photo for one in asked if one.photo is not None]
    queries = [Query(one.text, gallery.read(photo.path), photo.box) for one, photo in zip(asked, photos, strict=True)]
    return gallery.embed(queries, "photos")[0]


def by_picture(gallery: Gallery, asked: Sequence[Asked]) -> Vectors:
    pictures = [gallery.products[gallery.rows[one.like]].images[0] for one in asked]
    queries = [Query(one.text, gallery.read(picture)) for one, picture in zip(asked, pictures, strict=True)]
    return gallery.embed(queries, "pictures")[0]


def by_vector(gallery: Gallery, asked: Sequence[Asked]) -> Vectors:
    words = gallery.embed([Query(one.text) for one in asked], "words")[0]
    products = [gallery.vectors[gallery.rows[one.like]] for one in asked]
    return np.stack([wished(own, text, EVEN) for own, text in zip(products, words, strict=True)])


def first_hits(search: FusedSearch, asked: Sequence[Asked], vectors: Vectors) -> list[float]:
    """Share of the questions whose first hit is the product that is meant, by :data:`WEIGHTS`."""
    right = [0] * len(WEIGHTS)
    for one, vector in zip(asked, vectors, strict=True):
        found = search.index.candidates(vector, one.text, Filters(), DEPTH)
        others = [candidate for candidate in found if candidate.point != point_id(one.like)]
        for place, weight in enumerate(WEIGHTS):
            right[place] += best_first(others, weight)[0][0] == point_id(one.meant)
    return [count / len(asked) for count in right]


if __name__ == "__main__":
    main()
