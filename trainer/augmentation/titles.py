"""Enriched titles: made of the record's own fields, or written by an image-text model (MOON2.0)."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Protocol

from PIL.Image import Image

from app.moon.chat import ask, load_chat_model
from app.moon.grounding import FENCE
from app.moon.segments import clean
from app.schema import CATEGORY_SEPARATOR
from trainer.augmentation.rules import FLOOR, longest
from trainer.augmentation.words import folded, scripts
from trainer.data.record import Item

MOST_ADDED = 4
"""Values that are added to a title."""
LONGEST_VALUE = 40
_SAYS_NOTHING = (
    "yes no true false none other others misc miscellaneous unknown unspecified various ja nein oui non sí andere "
    "sonstige autre otro 是 否 有 无 其 他 它"
)
SAYS_NOTHING = frozenset(_SAYS_NOTHING.split())
"""Values that mean something beside their key only."""
UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO"}
MAX_NEW_TOKENS = 160
MAX_VALUES, MAX_CHARS = 24, 400
PROMPT = (
    "Write a richer title for this product of an online shop, in the language of its title. Keep the title's words and "
    "add what its attributes and the picture say. Write added words in lower case and take common ones. Name no "
    "number, brand or model that is not given. At most {limit} characters.\n{fields}\n"
    'Answer with JSON only: {{"title": "..."}}'
)


class TitleMaker(Protocol):
    """Proposes an enriched title for a product; ``image`` is its main picture."""

    def __call__(self, item: Item, image: Image | None, rng: random.Random) -> tuple[str, str]:
        """The title and an empty reason, or what was written instead and the reason why it is none."""


def from_fields(item: Item, image: Image | None, rng: random.Random) -> tuple[str, str]:
    """The title with the category's name and the attribute values that it lacks, as shops write titles (our decision).

    The deepest category name first, values in random order, as many as fit; all of it is in the record. Values in
    scripts that the title does not use are left out.

    >>> lamp = Item("1", "Tall lamp", category=("Lamps",), attributes={"color": ("black",), "dimmable": ("yes",)})
    >>> from_fields(lamp, None, random.Random(0))
    ('Tall lamp, black', '')
    """
    title, own = " ".join(item.title.split()), set(scripts(item.title))
    values = [value for _, values in sorted(item.attributes.items()) for value in values]
    rng.shuffle(values)
    category = next((name for name in reversed(item.category) if _lacks(title, name)), "")
    separator, added = " " if own & UNSPACED else ", ", 0
    for value in (category, *values):
        value = " ".join(value.split())
        longer = f"{title}{separator}{value}" if title else value
        fits = len(value) <= LONGEST_VALUE and len(longer) <= longest(item.title, FLOOR) and added < MOST_ADDED
        if fits and _lacks(title, value) and (not own or own.issuperset(scripts(value))):
            title, added = longer, added + 1
    return (title, "") if added else ("", "the record holds nothing that the title lacks")


def _lacks(title: str, value: str) -> bool:
    """Whether a value says something that the title does not; singular and plural are the same."""
    present, said = folded(title), folded(value)
    if not any(letter.isalpha() for letter in value) or SAYS_NOTHING.issuperset(said):
        return False
    return not all(any(word.startswith(own) or own.startswith(word) for own in present) for word in said)


class ModelTitles:
    """An image-text model writes the title from title, attributes and picture (MOON2.0); its answer must be JSON."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor

    @classmethod
    def from_pretrained(cls, name: str, device: str) -> ModelTitles:
        """Load a folder or Hub id. Raises ModelError if it cannot be loaded."""
        return cls(*load_chat_model(name, device, "model that writes titles"))

    def __call__(self, item: Item, image: Image | None, rng: random.Random) -> tuple[str, str]:
        if not item.title.strip():
            return "", "the record has no title to enrich"
        answer, _ = ask(self._model, self._processor, image, prompt(item), MAX_NEW_TOKENS)
        title = parse_title(answer)
        return (answer, "the answer is not JSON with a title alone") if title is None else (title, "")


def prompt(item: Item) -> str:
    """What the model is asked; the record's text can name no special token."""
    pairs = [f"{key}: {value}" for key in sorted(item.attributes) for value in item.attributes[key]]
    fields = (
        ("Title", item.title),
        ("Category", CATEGORY_SEPARATOR.join(item.category)),
        ("Attributes", "; ".join(pairs[:MAX_VALUES])),
    )
    return PROMPT.format(limit=longest(item.title), fields="\n".join(_lines(fields)))


def _lines(fields: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{name}: {clean(text)[:MAX_CHARS]}" for name, text in fields if text]


def parse_title(answer: str) -> str | None:
    """The title of an answer that is ``{"title": "..."}`` and nothing else, in a code fence at most; None otherwise.

    >>> parse_title('```json\\n{"title": "Oak chair, white"}\\n```')
    'Oak chair, white'
    >>> parse_title('Sure! {"title": "Oak chair"}') is None
    True
    """
    text = answer.strip()
    fenced = FENCE.fullmatch(text)
    try:
        found = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.keys() != {"title"} or not isinstance(found["title"], str):
        return None
    return found["title"].strip()
