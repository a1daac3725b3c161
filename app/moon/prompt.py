"""How products, queries and labels are written into the model's input: pictures first, then marked text.

Order of the paper: original picture, its core crop, text; text = title, category, attributes. Several pictures of one
product are simply more pictures in the same sequence (the paper's many-to-one case).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from PIL.Image import Image

from app.moon.segments import mark
from app.schema import CATEGORY_SEPARATOR, Product

MAX_TITLE_CHARS = 400
MAX_VALUES = 24


def product_text(product: Product) -> str:
    """Title, category and attributes between their markers; what is missing leaves no trace.

    >>> product_text(Product(id="1", title="Red chair", category=["Chairs"], attributes={"color": ["red"]}))
    '<|title|> Red chair<|/title|><|category|> Chairs<|/category|><|attribute|> color: red<|/attribute|>'
    """
    title = mark("title", product.title[:MAX_TITLE_CHARS])
    return title + category_text(product.category) + attribute_text(product.attributes)


def category_text(path: Sequence[str]) -> str:
    return mark("category", CATEGORY_SEPARATOR.join(path))


def attribute_text(attributes: Mapping[str, Sequence[str]]) -> str:
    """``key: value`` pairs in the order of their keys, so that the text does not depend on a catalog's column order."""
    pairs = [f"{key}: {value}" for key in sorted(attributes) for value in attributes[key]]
    return mark("attribute", ", ".join(pairs[:MAX_VALUES]))


def query_text(text: str) -> str:
    return mark("title", text)


def label_text(label: str, segment: Literal["category", "attribute"]) -> str:
    return mark(segment, label)


def model_input(images: Sequence[Image], text: str) -> dict[str, Any]:
    """One input of :class:`~app.moon.transformer.MoonTransformer`; pictures stand before the text."""
    return {"image": list(images), "text": text} if images else {"text": text}
