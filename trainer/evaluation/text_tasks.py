"""The text task of the home-goods evaluation: names, synonyms, phrases and names in other languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from app.schema import Query
from trainer.evaluation.asked import Asked
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.metrics import DEPTH, Rankings
from trainer.evaluation.scores import FUSED, LEXICAL, LOCAL_LEXICAL, MOON, Scorer

TEXTS = "text"
TYPES = ("name", "colour+name", "material+kind", "synonym", "colour+synonym", "use case")
PHRASES = ("synonym", "use case")
"""What the target calls synonyms and phrases (our decision): with a colour in front, half of the words are others."""
NAME = "localized name"
LOCALISED = (NAME, "localized colour+name")
SEEN, UNSEEN = "seen in training", "never seen"


def text_rows(gallery: Gallery, scorer: Scorer) -> None:
    """Text queries by type and language; any product that the query may mean is right."""
    table = gallery.home.queries
    texts = table["text"].to_list()
    relevant = [{gallery.rows[key] for key in keys} for keys in table["relevant_product_ids"]]
    vectors, _ = gallery.embed([Query(text=text) for text in texts], "text queries")
    gallery.asked.append(Asked("text", texts, vectors, relevant))
    answers: dict[str, Rankings] = {
        MOON: gallery.nearest(vectors),
        FUSED: gallery.by_fusion(texts, vectors),
        LEXICAL: gallery.bm25.rank(texts),
        LOCAL_LEXICAL: gallery.bm25_in_all_languages.rank(texts),
    }
    for query, chosen in text_sets(table):
        own = {system: ranking[chosen] for system, ranking in answers.items()}
        wanted = [relevant[row] for row in chosen]
        scorer.recalls(TEXTS, query, "", DEPTH, own, wanted)
        scorer.graded(TEXTS, query, own, wanted)


def text_sets(table: pl.DataFrame) -> Iterator[tuple[str, list[int]]]:
    """Query sets that are not empty and their rows of the table; seen and unseen apart where training held some.

    Each type and language is a set; so are synonyms and phrases together, and names in all languages together.
    """
    table = table.with_row_index("row")
    for kinds in (*((kind,) for kind in TYPES), PHRASES):
        own = table.filter(pl.col("type").is_in(kinds))
        if own["seen_in_training"].any():
            for seen, note in ((True, SEEN), (False, UNSEEN)):
                yield from _unless_empty(english(kinds, note), own.filter(seen_in_training=seen))
        else:
            yield from _unless_empty(english(kinds), own)
    for kind in LOCALISED:
        localised = table.filter(type=kind).sort("lang", "row")
        for (lang,), own in localised.group_by("lang", maintain_order=True):
            yield from _unless_empty(foreign(str(lang), kind), own)
    if len(languages(table)) > 1:  # else they are a set already
        yield from _unless_empty(foreign(together(table), NAME), table.filter(type=NAME))


def english(kinds: Sequence[str], note: str = "") -> str:
    """The name of a set of English queries."""
    return ", ".join(filter(None, [f"en {' and '.join(kinds)}", note]))


def foreign(lang: str, kind: str) -> str:
    """The name of a set of queries in another language."""
    return f"{lang} {kind.removeprefix('localized ')}"


def languages(table: pl.DataFrame) -> list[str]:
    """The languages of names other than English."""
    return sorted(table.filter(type=NAME)["lang"].unique().to_list())


def together(table: pl.DataFrame) -> str:
    """All languages as one name."""
    return ", ".join(languages(table))


def is_one_type(query: str, table: pl.DataFrame) -> bool:
    """Whether a set holds queries of one type and language, and not several of them together."""
    several = {english(PHRASES, note) for note in ("", SEEN, UNSEEN)}
    if len(languages(table)) > 1:
        several.add(foreign(together(table), NAME))
    return query not in several


def _unless_empty(name: str, own: pl.DataFrame) -> Iterator[tuple[str, list[int]]]:
    if len(own):
        yield name, own["row"].to_list()
