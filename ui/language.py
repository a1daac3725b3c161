"""The languages of the page: which one an address asks for, and the page's own texts in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import gradio as gr

from app.errors import MoonError
from app.schema import Product
from ui.chinese import TEXTS
from ui.chinese_errors import ERRORS
from ui.theme import script


@dataclass(frozen=True)
class Language:
    """Says the page's texts, which are written in English in the code.

    ``code`` stands in the address, ``locale`` is its BCP 47 tag, ``name`` is what its speakers call it.
    """

    code: str
    locale: str
    name: str
    texts: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, english: str, **values: object) -> str:
        """The text in this language, with ``values`` in its braces; a text that is unknown stays English.

        >>> CHINESE("{count} days", count=2)
        '2 天'
        """
        return self.texts.get(english, english).format(**values)

    def error(self, error: MoonError) -> str:
        """What went wrong; a message that is unknown stays English, and so do the details in its braces.

        Of those only ``name`` is said in this language where it is known, as what a photo is called.
        """
        if error.template not in self.texts:
            return str(error)
        called = {key: self.texts.get(str(value), value) for key, value in error.values.items() if key == "name"}
        return self(error.template, **{**error.values, **called})

    def title_of(self, product: Product) -> str:
        """What a product is called: in this language, else as its catalog has it, else in any other, else its id."""
        titles = {code.replace("_", "-").lower(): title for code, title in product.titles.items() if title}
        regional = (title for code, title in titles.items() if code.startswith(f"{self.code}-"))
        own = titles.get(self.locale.lower()) or titles.get(self.code) or next(regional, "")
        return own or product.title or next(iter(titles.values()), "") or product.id


ENGLISH = Language("en", "en", "English")
CHINESE = Language("zh", "zh-CN", "中文", {**TEXTS, **ERRORS})
LANGUAGES = {language.code: language for language in (ENGLISH, CHINESE)}


def language_script() -> str:
    """What settles the language in the browser, before Gradio asks for it."""
    locales = {language.code: language.locale for language in LANGUAGES.values()}
    return f"{{ const LOCALES = {json.dumps(locales)};\n{script('language.js')} }}"


class Labels:
    """What the page is laid out with: sent in every language, of which Gradio takes the browser's.

    Any text of Gradio's components can be such a label, and the whole HTML of a block too.
    """

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, str]] = {language.locale: {} for language in LANGUAGES.values()}

    def __call__(self, english: str) -> str:
        """A text of the page as a label."""
        return self.html(lambda say: say(english))

    def html(self, write: Callable[[Language], str]) -> str:
        """What ``write`` makes of each language as a label."""
        key = f"text-{len(self._texts[ENGLISH.locale])}"
        for language in LANGUAGES.values():
            self._texts[language.locale][key] = write(language)
        return str(gr.I18n()(key))

    def translations(self) -> gr.I18n:
        """All labels, for Gradio."""
        return gr.I18n(**self._texts)
