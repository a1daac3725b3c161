"""HTML from text that others wrote: everything is escaped, links are kept only where they lead to a web page."""

from __future__ import annotations

import html
from urllib.parse import quote, urlsplit

_TEMPLATE_SIGNS = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


def text(value: object) -> str:
    """Text for element content and quoted attributes; the signs of JavaScript and Handlebars templates are escaped too.

    >>> text('<b onclick="x">${1}')
    '&lt;b onclick=&quot;x&quot;&gt;&#36;&#123;1&#125;'
    """
    return html.escape(str(value)).translate(_TEMPLATE_SIGNS)


def link(url: str | None, label: str) -> str:
    """The label as a link if the URL is an http(s) address, else as plain text."""
    if url is None or urlsplit(url).scheme not in ("http", "https"):
        return text(label)
    return f'<a href="{text(url)}" target="_blank" rel="noopener noreferrer nofollow">{text(label)}</a>'


def go(address: object) -> str:
    """Attributes that make a button lead to an address of the page without loading it anew (see search.js)."""
    return f'data-go="{text(address)}"'


def href(address: object) -> str:
    """As :func:`go`, for a link: it also works in a new tab."""
    return f'href="{text(address)}" {go(address)}'


def picture_url(product_id: str, number: int) -> str:
    """Where the HTTP API serves a product's picture; relative, so that the page also works under a path prefix."""
    return f"api/products/{quote(product_id, safe='')}/images/{number}"


def notice(title: str, message: str, kind: str = "info") -> str:
    """A box that says something to the shopper: kind is info or error."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="notice {kind}" role="{role}"><strong>{text(title)}</strong><p>{text(message)}</p></div>'


def label_of(key: str) -> str:
    """A key of the catalog as a heading.

    >>> label_of("seat_height")
    'Seat height'
    """
    return key.replace("_", " ").strip().capitalize() or key
