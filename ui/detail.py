"""The product page: all pictures, what is known of the product, who made it, and products like it."""

from __future__ import annotations

from collections.abc import Sequence

from app.schema import Hit, Product
from ui.cards import grid, picture, price, title_of
from ui.markup import event, link, text

_SIDES = {"width_cm": "W", "depth_cm": "D", "height_cm": "H"}


def detail(product: Product, similar: Sequence[Hit]) -> str:
    """The whole product page with its grid of similar products."""
    pictures = "".join(picture(product, number, lazy=False) for number in range(max(1, len(product.images))))
    return (
        '<article class="detail" aria-labelledby="detail-title">'
        f'<button type="button" class="back" {event("close")}>← Back to results</button>'
        f'<div class="detail-top"><div class="pictures">{pictures}</div><div class="facts">'
        f"{_category(product)}"
        f'<h2 id="detail-title" tabindex="-1">{text(title_of(product))}</h2>'
        f"{price(product)}{_facts(product)}{_link(product)}{_other_titles(product)}{_licence(product)}"
        f"</div></div>{_similar(similar)}</article>"
    )


def missing(message: str) -> str:
    """The page of a product that cannot be shown; ``message`` is HTML that says why."""
    back = f'<button type="button" class="back" {event("close")}>← Back to results</button>'
    return f'<article class="detail">{back}<h2 tabindex="-1">No such product</h2>{message}</article>'


def label_of(key: str) -> str:
    """A key of the catalog as a heading.

    >>> label_of("seat_height")
    'Seat height'
    """
    return key.replace("_", " ").strip().capitalize() or key


def _category(product: Product) -> str:
    if not product.category:
        return ""
    levels = "".join(f"<li>{text(level)}</li>" for level in product.category)
    return f'<ol class="path" aria-label="Category">{levels}</ol>'


def _facts(product: Product) -> str:
    rows = [(label_of(key), ", ".join(values)) for key, values in product.attributes.items() if values]
    rows += _dimensions(product.numbers)
    if not rows:
        return ""
    return f'<dl class="rows">{"".join(f"<dt>{text(key)}</dt><dd>{text(value)}</dd>" for key, value in rows)}</dl>'


def _dimensions(numbers: dict[str, float]) -> list[tuple[str, str]]:
    """Width, depth and height in one row, every other number in a row of its own; a unit is the key's last part."""
    sides = [(sign, numbers[key]) for key, sign in _SIDES.items() if key in numbers]
    rows = []
    if sides:
        sizes = " × ".join(f"{value:g}" for _, value in sides)
        rows.append(("Dimensions", f"{sizes} cm ({' × '.join(sign for sign, _ in sides)})"))
    for key, value in numbers.items():
        if key != "price" and key not in _SIDES:
            name, _, unit = key.rpartition("_")
            rows.append((label_of(name), f"{value:g} {unit}") if name else (label_of(key), f"{value:g}"))
    return rows


def _link(product: Product) -> str:
    return f'<p class="shop-link">{link(product.url, "Open in the shop")}</p>' if product.url else ""


def _other_titles(product: Product) -> str:
    titles = [(code, title) for code, title in product.titles.items() if title]
    if not titles:
        return ""
    rows = "".join(
        f'<dt>{text(code)}</dt><dd lang="{text(code.replace("_", "-"))}">{text(title)}</dd>' for code, title in titles
    )
    return (
        f'<details id="other-titles"><summary>In {len(titles)} other language{"s" if len(titles) > 1 else ""}</summary>'
        f'<dl class="rows narrow">{rows}</dl></details>'
    )


def _licence(product: Product) -> str:
    parts = []
    if product.attribution:
        parts.append(f"<p>{text(product.attribution)}</p>")
    elif product.creator:
        parts.append(f"<p>By {text(product.creator)}</p>")
    if product.licence:
        parts.append(f"<p>Licence: {link(product.licence_url, product.licence)}</p>")
    return f'<div class="licence"><h3>Licence and attribution</h3>{"".join(parts)}</div>' if parts else ""


def _similar(hits: Sequence[Hit]) -> str:
    return f'<section><h3 class="section">Similar products</h3>{grid(hits)}</section>' if hits else ""
