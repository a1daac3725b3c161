"""What goes wrong for a shopper is said in the language of the page, not in English."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from app.errors import BadInputError, MoonError, NotFoundError, OverloadedError
from app.schema import Filters, Query, Range
from app.search import MAX_LIMIT, MAX_OFFSET
from app.serving import Service
from tests.ui.driving import OpenPage
from tests.ui.sample_shop import demo_products, service
from ui.address import OWN_PHOTO, Address
from ui.compare import Comparing
from ui.language import CHINESE, ENGLISH
from ui.shop import Shop
from ui.understand import Understanding

SENTENCE = re.compile(r"[A-Za-z]{2,} [A-Za-z]+")
"""Two words of English: ids, names and commands of the catalog and the server stand in quotes."""


def notice(shown: str) -> str:
    """The text of the one notice in what the page shows."""
    texts = re.findall(r'<div class="notice.*?<p>(.*?)</p>', shown, re.DOTALL)
    assert len(texts) == 1
    return html.unescape(texts[0])


def is_chinese(text: str) -> bool:
    return bool(re.search("[一-鿿]", text)) and not SENTENCE.search(re.sub(r"`.*?`|'.*?'|现有：.*", "", text))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that takes only small photos and short texts."""
    data = tmp_path_factory.mktemp("small")
    running = service(
        data,
        demo_products(every=200),
        max_image_bytes=20_000,
        max_image_pixels=5_000,
        max_text_chars=20,
        max_wait_ms=50,
    )
    yield running
    running.close()


def saved(folder: Path, name: str, size: tuple[int, int]) -> str:
    Image.new("RGB", size, "red").save(folder / name)
    return str(folder / name)


def written(folder: Path, content: bytes) -> str:
    (folder / "photo.png").write_bytes(content)
    return str(folder / "photo.png")


PHOTOS: dict[str, tuple[Callable[[Path], str], str]] = {
    "gone": (lambda folder: str(folder / "gone.png"), "已不在服务器上"),
    "empty": (lambda folder: written(folder, b""), "文件是空的"),
    "none": (lambda folder: written(folder, b"not a picture"), "不是可以读取的图片"),
    "too large": (lambda folder: written(folder, bytes(20_001)), "0.02 MB"),
    "damaged": (lambda folder: cut(saved(folder, "photo.png", (70, 70))), "已损坏或不完整"),
    "too many pixels": (lambda folder: saved(folder, "photo.png", (100, 80)), "0.005 百万像素的上限 (100 x 80)"),
    "too small": (lambda folder: saved(folder, "photo.png", (1, 60)), "只有 1 x 60 像素"),
    "a strip": (lambda folder: saved(folder, "photo.png", (2, 400)), "2 x 400 像素的长条"),
}


def cut(path: str) -> str:
    Path(path).write_bytes(Path(path).read_bytes()[:-40])
    return path


@pytest.mark.parametrize(("photo", "said"), PHOTOS.values(), ids=PHOTOS)
def test_a_photo_that_cannot_be_used_is_said_so_in_chinese(
    small: Service, tmp_path: Path, photo: Callable[[Path], str], said: str
):
    path = photo(tmp_path)
    answers = [
        Shop(small).search(Address(photo=OWN_PHOTO, lang="zh"), path).results,
        Understanding(small).predict("", path, CHINESE),
        Understanding(small).look("", path, CHINESE),
        Comparing(small).compare("", path, "FUSED ", "MEANING ", CHINESE),
    ]
    for answer in map(notice, answers):
        assert said in answer
        assert "您的照片" in answer
        assert is_chinese(answer)


ADDRESSES = {
    "long": (Address("x" * 21), "21 个字符，最多 20 个"),
    "no photo": (Address(photo=OWN_PHOTO), "请重新添加"),
    "unknown photo": (Address(photo="../secret"), "您自己的照片"),
    "gone": (Address(like="gone"), "没有商品 'gone'"),
    "unknown attribute": (Address("bed", filters=Filters(attributes={"flavour": ["mint"]})), "属性 'flavour'"),
    "unknown number": (Address("bed", filters=Filters(ranges={"taste": Range(min=1)})), "数值 'taste'"),
    "unknown order": (Address("bed", sort="taste"), "不能按 'taste' 排序"),
}


@pytest.mark.parametrize(("address", "said"), ADDRESSES.values(), ids=ADDRESSES)
def test_a_search_that_cannot_be_made_is_said_so_in_chinese(small: Service, address: Address, said: str):
    answer = notice(Shop(small).search(Address.parse(f"{address}&lang=zh"), None).results)
    assert said in answer
    assert is_chinese(answer)


def test_other_tabs_and_the_page_of_a_product_say_it_in_chinese(small: Service):
    understanding, comparing = Understanding(small), Comparing(small)
    answers = {
        "没有商品 'gone'": Shop(small).product(Address(product="gone", lang="zh")),
        "没有可以预测的内容": understanding.predict("", None, CHINESE),
        "没有可以查看的照片": understanding.look("", None, CHINESE),
        "没有可以搜索的文字": comparing.compare(" ", None, "FUSED ", "WORDS ", CHINESE),
        "已不再保留": comparing.compare("bed", None, "FUSED ", "FUSED 20200101T000000-abcdef", CHINESE),
    }
    for said, answer in answers.items():
        assert said in notice(answer)
        assert is_chinese(notice(answer))


def test_a_server_that_is_busy_stopping_or_without_an_index_says_so_in_chinese(tmp_path: Path):
    busy = service(tmp_path / "busy", demo_products(every=400), max_wait_ms=1, max_pixels_in_work=1)
    path, shop = saved(tmp_path, "photo.png", (64, 64)), Shop(busy)
    with busy.photos.room(1):
        large = shop.search(Address(photo=OWN_PHOTO, lang="zh"), path).results
    with busy.embedder._one_at_a_time():
        waiting = Understanding(busy).predict("bed", None, CHINESE)
    busy.embedder.close()
    stopping = shop.search(Address("bed", lang="zh"), None).results
    busy.close()
    empty = service(tmp_path / "empty", [])
    nothing = [Shop(empty).search(Address("bed", lang="zh"), None).results, Shop(empty).landing(Address(lang="zh"))]
    empty.close()
    answers = {
        large: "大照片过多",
        waiting: "等待模型的查询过多",
        stopping: "正在关闭",
        **dict.fromkeys(nothing, "还没有发布索引"),
    }
    for answer, said in answers.items():
        assert said in notice(answer)
        assert is_chinese(notice(answer))


@pytest.mark.parametrize(("limit", "offset"), [(MAX_LIMIT + 1, 0), (1, MAX_OFFSET + 1)])
def test_a_page_too_deep_is_said_so_in_chinese(small: Service, limit: int, offset: int):
    with pytest.raises(BadInputError) as refused:
        small.engine.search(Query("bed"), limit=limit, offset=offset)
    assert is_chinese(CHINESE.error(refused.value))
    assert ENGLISH.error(refused.value) == str(refused.value)


def test_an_error_that_is_unknown_stays_as_it_is():
    for error in (MoonError("a {strange} brace"), OverloadedError("wait"), NotFoundError("no {thing}", thing="{such}")):
        assert CHINESE.error(error) == ENGLISH.error(error) == str(error)
    assert str(NotFoundError("no {thing}", thing="{such}")) == "no {such}"


def test_what_a_shopper_wrote_is_not_taken_for_a_template(small: Service):
    answer = notice(Shop(small).search(Address(like="{count} {0}", lang="zh"), None).results)
    assert "'{count} {0}'" in answer


@pytest.mark.browser
def test_the_page_says_what_went_wrong_in_chinese(open_page: OpenPage, shop_url: str):
    for query in ("q=bed&is.flavour=mint", "like=gone", "product=gone", "photo=own"):
        page = open_page(f"{shop_url}?{query}&lang=zh")
        shown = page.locator(".notice:visible")
        expect(shown).to_have_count(1)
        assert is_chinese(shown.inner_text())
