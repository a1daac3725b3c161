"""What the home-goods set says of its products, in every language, with the English text of the same meaning."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from app.schema import category_levels
from trainer.data.home import HomeProduct, HomeSet
from trainer.data.home_corpus import colour_of
from trainer.words.dictionaries import Translation


def catalog_texts(root: Path, splits: Collection[str]) -> list[Translation]:
    """Names, titles, kinds, synonyms, phrases, category levels and attributes of the products in ``splits``.

    Synonyms and phrases mean both themselves and the kind that they stand for.
    """
    home = HomeSet(root)
    found = (text for product in home.products if product.split in splits for text in _texts(product, home))
    return [text for text in dict.fromkeys(found) if text.text]


def _texts(product: HomeProduct, home: HomeSet) -> Iterator[Translation]:
    own, names, colour = product.product, dict(product.names), colour_of(product)
    for lang, name in names.items():
        yield _pair(name, lang, names["en"])
    yield _pair(own.title, "en", own.title)
    for lang, title in own.titles.items():
        if title != names.get(lang):
            yield _pair(title, lang, own.title)
    for kind in product.kinds:
        for phrase in (kind, *home.kind_phrases.get(kind, [])):
            yield _pair(phrase, "en", phrase)
            yield _pair(phrase, "en", kind)
        if colour:
            yield _pair(f"{colour} {kind}", "en", f"{colour} {kind}")
    for label in (*own.category, *category_levels(own.category)):
        yield _pair(label, "en", label)
    for key, values in own.attributes.items():
        for value in values:
            for label in (value, f"{key}: {value}"):
                yield _pair(label, "en", label)


def _pair(text: str, lang: str, english: str) -> Translation:
    return Translation(" ".join(text.lower().split()), lang, " ".join(english.lower().split()))
