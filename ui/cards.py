"""Result cards: the grid of products that a search or "similar products" answers with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from app.ranking import BY_MATCH
from app.schema import Filters, Hit, Product
from ui.address import Address
from ui.language import Language
from ui.markup import go, href, notice, picture_url, text

LEVELS = {"best": "Best matches", "related": "Related", "none": "Further away"}
WITHOUT_BEST = "Closest matches"
NOTHING_LIKE_IT = "The catalog seems to hold nothing like your search. These products come nearest."
NOTHING_LEFT_LIKE_IT = (
    "Nothing that fulfils the filters is like your search. Take one away; these products come nearest."
)


def grid(hits: Sequence[Hit], address: Address | None = None) -> str:
    """A list of cards, in the order of the hits; a card opens its product before the search of ``address``.

    Each card is a link: it works by mouse, by keyboard and in a new tab.
    """
    here = address or Address()
    return f'<ul class="grid">{"".join(_card(hit, here) for hit in hits)}</ul>'


def graded(hits: Sequence[Hit], matched: bool | None, address: Address) -> str:
    """The grid of a search, apart for each match level where the model can tell and the best match comes first.

    ``matched`` is :attr:`app.schema.SearchResult.matched`; if it is false, that is said before all else.
    """
    say = address.say
    if matched is False:
        why = NOTHING_LEFT_LIKE_IT if address.filters != Filters() else NOTHING_LIKE_IT
        return notice(say("Nothing like it"), say(why)) + grid(hits, address)
    if matched is None or address.sort != BY_MATCH:
        return grid(hits, address)
    parts = [(level, list(part)) for level, part in groupby(hits, key=lambda hit: hit.match or "none")]
    titles = LEVELS if parts[0][0] == "best" else {**LEVELS, "related": WITHOUT_BEST}
    return "".join(f'<h3 class="level">{say(titles[level])}</h3>{grid(part, address)}' for level, part in parts)


def picture(product: Product, say: Language, number: int = 0, lazy: bool = True) -> str:
    """One picture of a product, or a placeholder of the same size."""
    if number >= len(product.images):
        return f'<span class="picture missing">{say("No picture")}</span>'
    title = say.title_of(product)
    alt = title if number == 0 else say("{title}, view {number}", title=title, number=number + 1)
    loading = ' loading="lazy"' if lazy else ""
    return (
        f'<span class="picture"><img src="{text(picture_url(product.id, number))}" alt="{text(alt)}"'
        f' width="320" height="320"{loading}></span>'
    )


def price(product: Product) -> str:
    """The price as the catalog gives it (a number without a currency), or nothing."""
    if "price" not in product.numbers:
        return ""
    return f'<span class="price">{product.numbers["price"]:,.2f}</span>'


def this_but(product: Product, address: Address, label: str = "This, but …") -> str:
    """A button that searches like the product and waits for words that say what should be different."""
    say = address.say
    meant = say("Search like {title}, but different", title=say.title_of(product))
    return (
        f'<button type="button" class="this-but" {go(address.another(like=product.id))} data-focus="words" '
        f'aria-label="{text(meant)}">{say(label)}</button>'
    )


def _card(hit: Hit, address: Address) -> str:
    product, say = hit.product, address.say
    match = say("{share} match", share=f"{max(hit.score, 0):.0%}")
    score = say("Score {score}", score=f"{hit.score:.3f}")
    category = product.category[-1] if product.category else ""
    return (
        f'<li class="item"><a class="card" {href(address.opened(product.id))}>{picture(product, say)}'
        f'<span class="card-text"><span class="card-title">{text(say.title_of(product))}</span>'
        f'{price(product)}<span class="card-foot"><span class="card-category">{text(category)}</span>'
        f'<span class="match" title="{score}">{match}</span>'
        f"</span></span></a>{this_but(product, address)}</li>"
    )
