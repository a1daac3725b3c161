"""The product page: all pictures, what is known of the product, who made it, and products like it."""

from __future__ import annotations

from collections.abc import Sequence

from app.schema import Filters, Hit, Product
from ui.address import Address
from ui.cards import grid, picture, price, this_but, title_of
from ui.markup import go, href, label_of, link, text

LIKE_THIS = "This, but … (search with its picture)"

_SIDES = {"width_cm": "W", "depth_cm": "D", "height_cm": "H"}


def detail(
    product: Product, similar: Sequence[Hit], variants: Sequence[Hit], address: Address, matched: str = ""
) -> str:
    """The whole product page, before the search of ``address``, with two rows of other products.

    ``matched`` is HTML that says why the product matched that search.
    """
    pictures = "".join(picture(product, number, lazy=False) for number in range(max(1, len(product.images))))
    return (
        f'<article class="detail" aria-labelledby="detail-title">{_back(address)}'
        f'<div class="detail-top"><div class="pictures">{pictures}</div><div class="facts">'
        f"{_category(product)}"
        f'<h2 id="detail-title" tabindex="-1">{text(title_of(product))}</h2>'
        f"{price(product)}{this_but(product, LIKE_THIS)}{matched or _why(product, address)}"
        f"{_facts(product)}{_link(product)}{_other_titles(product)}"
        f"{_licence(product)}</div></div>"
        f"{_row('Looks like this', similar, address)}{_row('Same kind, other colour', variants, address)}</article>"
    )


def missing(message: str, address: Address) -> str:
    """The page of a product that cannot be shown; ``message`` is HTML that says why."""
    return f'<article class="detail">{_back(address)}<h2 tabindex="-1">No such product</h2>{message}</article>'


def _back(address: Address) -> str:
    return f'<button type="button" class="back" {go(address.closed())} data-back>← Back to results</button>'


def _why(product: Product, address: Address) -> str:
    """A button that shows where the product's picture answers the search, if there are both on this server."""
    if not (address.words.strip() or address.has_photo) or not product.images or "://" in product.images[0]:
        return ""
    return '<button type="button" class="link" data-why>Why it matched</button>'


def _category(product: Product) -> str:
    """The path to the product's category; each level leads to a search in it."""
    levels = [
        (name, Address(name, filters=Filters(category=product.category[: depth + 1])))
        for depth, name in enumerate(product.category)
    ]
    links = "".join(f"<li><a {href(within)}>{text(name)}</a></li>" for name, within in levels)
    return f'<nav aria-label="Category"><ol class="path">{links}</ol></nav>' if links else ""


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


def _row(title: str, hits: Sequence[Hit], address: Address) -> str:
    return f'<section><h3 class="section">{title}</h3>{grid(hits, address)}</section>' if hits else ""
