"""The page in each of its languages: its own texts, the catalog's titles, and how a language is chosen."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.schema import Product
from tests.ui.driving import PHOTO, OpenPage, field, heading, words
from ui import chinese, chinese_errors
from ui.address import Address
from ui.language import CHINESE, ENGLISH, LANGUAGES

UI = Path(chinese.__file__).parent
APP = UI.parent / "app"
TRANSLATIONS = {"chinese.py", "chinese_errors.py"}
SHOPPERS_MEET = [
    *UI.glob("*.py"),
    *(APP / f"{name}.py" for name in ("search", "images", "photos", "batching", "ranking")),
]
NOT_ON_THE_PAGE = {
    "there is a box without a photo; add the photo or leave the box out",
    "no liked product is given; name at least one, disliked products alone point nowhere",
    "the client is gone",
    "A file is uploaded, not fetched from an address.",
    "A file is uploaded, not named by its path on the server.",
    "it is no longer on the server; upload it again",
}
"""Errors in those modules that only programs meet, or nobody."""
TEXTS_OF_APP = {"decode", "embed", "search", "facets", "labels", "neighbours", "predict", "look", "total"} | {
    "meaning and words",
    "meaning",
    "words",
}
COUNTED = {f"{{count}} {unit}{plural}" for unit in ("day", "hour", "minute") for plural in ("", "s")}
SHOWN = """() => [
  ...[...document.querySelectorAll('body *')].flatMap((element) =>
    ['placeholder', 'aria-label', 'alt', 'title'].map((name) => element.getAttribute(name))),
  ...[...document.querySelectorAll('input:not([type=search])')].map((input) => input.value),
  ...[...document.querySelectorAll('body *:not(script, style, h1 *)')].flatMap((element) =>
    [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data)),
].filter(Boolean).map((text) => text.trim())"""


def constants(function: str | None = None, files: Iterable[Path] | None = None) -> set[str]:
    """Texts in the page's modules or ``files``: all, or those passed first to a function whose name ends like this."""
    modules = [file for file in files or UI.glob("*.py") if file.name not in TRANSLATIONS]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in modules]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    if function:
        calls = [node for node in nodes if isinstance(node, ast.Call) and node.args]
        nodes = [call.args[0] for call in calls if ast.unparse(call.func).split(".")[-1].endswith(function)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def english_of(page: Page) -> set[str]:
    """The page's own texts that are shown in English."""
    texts = [re.sub(r"\\{\w+\\}", r"[\\d.,]+", re.escape(english)) for english in chinese.TEXTS]
    english = re.compile("|".join(texts))
    return {text for text in page.evaluate(SHOWN) if english.fullmatch(text)}


def test_every_text_is_in_every_language():
    assert constants("say") | constants("labels") | constants("lead") <= chinese.TEXTS.keys()


def test_no_text_is_left_over():
    assert chinese.TEXTS.keys() <= constants() | TEXTS_OF_APP | COUNTED


def test_every_error_that_a_shopper_meets_is_in_every_language():
    errors = constants("Error", SHOPPERS_MEET)
    assert len(errors) > 15
    assert errors - NOT_ON_THE_PAGE <= chinese_errors.ERRORS.keys()


def test_no_error_is_left_over():
    assert chinese_errors.ERRORS.keys() <= constants(files=[*UI.glob("*.py"), *APP.rglob("*.py")])


@pytest.mark.parametrize("english", chinese_errors.ERRORS)
def test_a_translated_error_has_no_other_values(english: str):
    values = re.compile(r"\{\w*\}")
    assert set(values.findall(chinese_errors.ERRORS[english])) <= set(values.findall(english))


@pytest.mark.parametrize("english", chinese.TEXTS)
def test_a_translation_has_the_same_values(english: str):
    assert sorted(re.findall(r"\{\w+\}", chinese.TEXTS[english])) == sorted(re.findall(r"\{\w+\}", english))


def test_a_product_is_called_what_its_catalog_calls_it_in_the_language():
    skirt = Product(id="1", title="Skirt", titles={"de": "Rock", "zh_TW": "裙", "zh_CN": "裙子"})
    assert CHINESE.title_of(skirt) == "裙子"
    assert CHINESE.title_of(Product(id="1", title="Skirt", titles={"zh-Hant": "裙"})) == "裙"
    assert CHINESE.title_of(Product(id="1", title="Skirt", titles={"de": "Rock"})) == "Skirt"
    assert ENGLISH.title_of(skirt) == "Skirt"
    assert ENGLISH.title_of(Product(id="1", titles={"de": "Rock"})) == "Rock"
    assert ENGLISH.title_of(Product(id="1")) == "1"


@pytest.mark.parametrize("code", ["", "fr", "zh-CN", "ZH", '"><script>window.hacked=1</script>', "__proto__"])
def test_an_unknown_language_counts_as_left_out(code: str):
    assert Address.parse(str(Address("bed", lang=code))) == Address("bed")


@pytest.mark.parametrize("code", LANGUAGES)
def test_another_search_is_in_the_same_language(code: str):
    assert Address.parse(str(Address("bed", lang=code).another("lamp"))) == Address("lamp", lang=code)


@pytest.mark.browser
def test_a_chinese_browser_gets_a_chinese_page(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url, locale="zh-CN")
    expect(page.locator(".landing")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    assert english_of(page) == set()
    page.locator("#ask input[type=file]").set_input_files(PHOTO)
    expect(page.locator(".framed")).to_be_visible()
    words(page, CHINESE).fill("bed")
    expect(heading(page)).to_have_text("与bed和您的照片最匹配的 24 件商品")
    assert english_of(page) == set()
    page.locator(".card:has(img)").first.click()
    expect(page.locator(".detail h2")).to_have_text(re.compile("[一-鿿]"))
    page.locator("[data-why]").click()
    expect(page.locator(".detail .seen")).to_have_count(2)
    assert english_of(page) == set()


@pytest.mark.browser
def test_understand_is_chinese_too(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?lang=zh")
    page.get_by_role("tab", name="识别").click()
    page.locator("#batch button").first.click()
    page.locator("#understand input[type=file]").set_input_files(PHOTO)
    page.get_by_label(CHINESE("Choose tables or photos")).set_input_files(PHOTO)
    page.get_by_role("button", name="预测", exact=True).click()
    expect(page.locator("#predicted .bars").first).to_be_visible()
    page.get_by_role("button", name="显示模型关注的部分").click()
    expect(page.locator("#heats img")).to_be_visible()
    expect(page.locator("#batch .table")).to_be_visible()
    assert english_of(page) == set()


@pytest.mark.browser
def test_compare_and_status_are_chinese_too(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?lang=zh")
    page.get_by_role("tab", name="比较").click()
    page.get_by_label("查询", exact=True).fill("bed")
    page.get_by_role("button", name="比较").click()
    expect(page.locator("#compared h2").first).to_have_text("已发布的索引，语义和文字")
    assert english_of(page) == set()
    page.get_by_role("tab", name="状态").click()
    expect(page.get_by_role("region", name="保留的索引")).to_be_visible()
    assert english_of(page) == set()


@pytest.mark.browser
def test_the_switch_keeps_the_search_and_a_link_carries_the_language(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?q=bed&category=Furniture&sort=-price")
    expect(page.locator(".chip")).to_have_count(1)
    page.get_by_role("link", name="中文").click()
    for shown in (page, open_page(f"{shop_url}?q=bed&category=Furniture&sort=-price&lang=zh")):
        expect(heading(shown)).to_contain_text("与bed")
        expect(shown.locator(".chip")).to_contain_text("Furniture")
        assert [field(shown, name) for name in ("q", "sort", "lang")] == ["bed", "-price", "zh"]
    page.reload()
    page.get_by_role("button", name="重新开始").click()
    expect(page.locator(".landing")).to_be_visible()
    assert field(page, "lang") == "zh"
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("button", name="Start over")).to_be_visible()


@pytest.mark.browser
def test_a_hostile_language_is_the_browsers(open_page: OpenPage, shop_url: str):
    for attack in ("%22%3E%3Cscript%3Ewindow.hacked=1%3C/script%3E", "toString", "__proto__"):
        page = open_page(f"{shop_url}?q=bed&lang={attack}")
        expect(heading(page)).to_have_text(re.compile("^Best"))
        assert page.evaluate("[window.hacked, document.documentElement.lang]") == [None, "en"]
