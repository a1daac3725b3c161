"""Usual names of columns: of exports of Shopify, WooCommerce and Magento, of Google's product feed, and in German,
French and Spanish."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

NUMBERS = frozenset({"price", "rating", "weight", "width", "height", "depth", "length", "diameter"})
UNITS = ("_price", "_cm", "_mm", "_m", "_in", "_kg", "_g", "_lb", "_oz", "_l", "_ml", "_w", "_v", "_inch")

_USUAL = {
    "id": "sku product_id item_id product_sku variant_sku article_id article_number item_number product_code handle "
    "artikelnummer artikel_nr art_nr produkt_id reference referencia codigo gtin ean",
    "title": "name product_name product_title item_name titel produktname bezeichnung artikelbezeichnung "
    "artikelname nom nom_du_produit nombre titre titulo designation",
    "group_id": "item_group_id parent_id parent_sku parent group_key model_id",
    "category": "product_type category_path product_category categories google_product_category type breadcrumb "
    "breadcrumbs kategorie warengruppe categorie categoria",
    "images": "image image_link image_url image_src product_image_url images_url main_image main_image_url "
    "picture picture_url pictures "
    "photo photo_url photos img img_url base_image bild bild_url bilder bildlink imagen imagenes "
    "additional_image_link additional_image_links additional_images variant_image variant_image_url "
    "gallery media_gallery",
    "url": "link product_url product_link permalink deeplink web_url",
    "price": "regular_price variant_price current_price preis vk_preis prix precio list_price unit_price",
    "attributes.brand": "brand vendor manufacturer marke hersteller marque marca",
    "attributes.color": "color colour farbe couleur",
    "attributes.size": "size groesse grosse taille talla",
    "attributes.material": "material materials matiere",
    "attributes.pattern": "pattern muster motif",
    "attributes.gender": "gender geschlecht",
    "attributes.age_group": "age_group",
    "attributes.style": "style stil",
}


def plain_name(column: str) -> str:
    """A column's name without case, accents, signs, and the ``g:`` of feeds.

    >>> plain_name("Width (cm)"), plain_name("g:image_link"), plain_name("Référence-Produit")
    ('width_cm', 'image_link', 'reference_produit')
    """
    letters = unicodedata.normalize("NFKD", column.strip().casefold().removeprefix("g:"))
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub(r"\W+", "_", bare).strip("_")


def _ranked() -> Iterator[tuple[str, tuple[str, int]]]:
    for target, names in _USUAL.items():
        for rank, name in enumerate(names.split(), start=1):
            yield name, (target, rank)


ALIASES = dict(_ranked())
"""Field and rank (1 is best) by plain name."""

NUMBERED = re.compile(
    r"(?:additional_)?(?:image|picture|photo|img|bild)(?:_?(?:url|link|src))?_?\d+(?:_?(?:url|link|src))?"
)
TITLE_IN = re.compile(r"(?:product_)?(?:title|name|titel)_(de|en|fr|es|it|nl|pt|pl|sv|da|fi|nb|cs|zh|ja|ko|ru|tr|uk)")
PAIRS = re.compile(r"((?:option|attribute|property|feature|spec)_?\d+)_name")
