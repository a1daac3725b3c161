"""The product page: all pictures, what is known of the product, who made it, and products like it."""

from __future__ import annotations

from collections.abc import Sequence

from app.schema import Filters, Hit, Product
from ui.address import Address
from ui.cards import grid, picture, price, this_but
from ui.language import Language
from ui.markup import go, href, label_of, link, text

LIKE_THIS = "This, but … (search for others like it)"

_SIDES = {"width_cm": "W", "depth_cm": "D", "height_cm": "H"}


def detail(
    product: Product,
    similar: Sequence[Hit],
    variants: Sequence[Hit],
    address: Address,
    matched: str = "",
    explains: bool = False,
) -> str:
    """The whole product page, before the search of ``address``, with two rows of other products.

    ``matched`` is HTML that says why the product matched that search; ``explains``: its picture can be asked why.
    """
    say = address.say
    pictures = "".join(picture(product, say, number, lazy=False) for number in range(max(1, len(product.images))))
    return (
        f'<article class="detail" aria-labelledby="detail-title">{_back(address)}'
        f'<div class="detail-top"><div class="pictures">{pictures}</div><div class="facts">'
        f"{_category(product, address)}"
        f'<h2 id="detail-title" tabindex="-1">{text(say.title_of(product))}</h2>'
        f"{price(product)}{this_but(product, address, LIKE_THIS)}{matched or (_why(address) if explains else '')}"
        f"{_facts(product, say)}{_link(product, say)}{_other_titles(product, say)}"
        f"{_licence(product, say)}</div></div>"
        f"{_row(say('Looks like this'), similar, address)}"
        f"{_row(say('Same kind, other colour'), variants, address)}</article>"
    )


def missing(message: str, address: Address) -> str:
    """The page of a product that cannot be shown; ``message`` is HTML that says why."""
    title = address.say("No such product")
    return f'<article class="detail">{_back(address)}<h2 tabindex="-1">{title}</h2>{message}</article>'


def _back(address: Address) -> str:
    label = address.say("← Back to results")
    return f'<button type="button" class="back" {go(address.closed())} data-back>{label}</button>'


def _why(address: Address) -> str:
    """A button that shows where the product's picture answers the search, if there is one."""
    if not (address.words.strip() or address.has_photo):
        return ""
    return f'<button type="button" class="link" data-why>{address.say("Why it matched")}</button>'


def _category(product: Product, address: Address) -> str:
    """The path to the product's category; each level leads to a search in it."""
    levels = [
        (name, address.another(name, filters=Filters.within(product.category[: depth + 1])))
        for depth, name in enumerate(product.category)
    ]
    links = "".join(f"<li><a {href(within)}>{text(name)}</a></li>" for name, within in levels)
    return f'<nav aria-label="{address.say("Category")}"><ol class="path">{links}</ol></nav>' if links else ""


def _facts(product: Product, say: Language) -> str:
    rows = [(label_of(key), ", ".join(values)) for key, values in product.attributes.items() if values]
    rows += _dimensions(product.numbers, say)
    if not rows:
        return ""
    return f'<dl class="rows">{"".join(f"<dt>{text(key)}</dt><dd>{text(value)}</dd>" for key, value in rows)}</dl>'


def _dimensions(numbers: dict[str, float], say: Language) -> list[tuple[str, str]]:
    """Width, depth and height in one row, every other number in a row of its own; a unit is the key's last part."""
    sides = [(say(sign), numbers[key]) for key, sign in _SIDES.items() if key in numbers]
    rows = []
    if sides:
        sizes = " × ".join(f"{value:g}" for _, value in sides)
        rows.append((say("Dimensions"), f"{sizes} cm ({' × '.join(sign for sign, _ in sides)})"))
    for key, value in numbers.items():
        if key != "price" and key not in _SIDES:
            name, _, unit = key.rpartition("_")
            rows.append((label_of(name), f"{value:g} {unit}") if name else (label_of(key), f"{value:g}"))
    return rows


def _link(product: Product, say: Language) -> str:
    return f'<p class="shop-link">{link(product.url, say("Open in the shop"))}</p>' if product.url else ""


def _other_titles(product: Product, say: Language) -> str:
    shown = say.title_of(product)
    titles = [(code, title) for code, title in product.titles.items() if title and title != shown]
    if not titles:
        return ""
    rows = "".join(
        f'<dt>{text(code)}</dt><dd lang="{text(code.replace("_", "-"))}">{text(title)}</dd>' for code, title in titles
    )
    if product.title != shown:
        rows = f"<dt>{say('Catalog')}</dt><dd>{text(product.title)}</dd>{rows}"
    heading = say("In 1 other language") if len(titles) == 1 else say("In {count} other languages", count=len(titles))
    return f'<details id="other-titles"><summary>{heading}</summary><dl class="rows narrow">{rows}</dl></details>'


def _licence(product: Product, say: Language) -> str:
    parts = []
    if product.attribution:
        parts.append(f"<p>{text(product.attribution)}</p>")
    elif product.creator:
        parts.append(f"<p>{say('By {creator}', creator=text(product.creator))}</p>")
    if product.licence:
        terms = link(product.licence_url, product.licence)
        parts.append(f"<p>{say('Licence: {licence}', licence=terms)}</p>")
    heading = say("Licence and attribution")
    return f'<div class="licence"><h3>{heading}</h3>{"".join(parts)}</div>' if parts else ""


def _row(title: str, hits: Sequence[Hit], address: Address) -> str:
    return f'<section><h3 class="section">{title}</h3>{grid(hits, address)}</section>' if hits else ""
