from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from app.errors import CatalogError, ModelError
from app.settings import Settings
from trainer.data import mine as mining
from trainer.data.boxes import FOUND, BoxCache, BoxWriter, picture_key
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.mine import Mined, MinedNegatives, mine
from trainer.data.mine_config import MineConfig
from trainer.data.mine_vectors import Reader, embed_queries
from trainer.data.pictures import PictureStore
from trainer.data.record import Item, Picture, Record
from trainer.evaluation.search import top_k

ALL = MineConfig(negatives=100, relative_margin=0.0)


def unit(words: str) -> np.ndarray:
    """Words that begin with a number of degrees, as a direction."""
    angle = math.radians(float(words.split()[0]))
    return np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)


class Compass:
    """An embedder whose titles and queries are degrees; pictures without words are their red channel in degrees."""

    name, fingerprint, dimensions = "compass", "f", 2

    def __init__(self) -> None:
        self.products, self.queries, self.labels = [], [], []

    def embed_products(self, products, images):
        self.products += products
        return np.stack([unit(product.title) for product in products])

    def embed_queries(self, queries):
        self.queries += queries
        return np.stack([unit(q.text or str(q.image.getpixel((0, 0))[0])) for q in queries]), []

    def embed_labels(self, labels, segment):
        self.labels += [(label, segment) for label in labels]
        return np.stack([unit(label) for label in labels])


def item(degrees: int, **fields) -> Item:
    return Item(str(degrees), f"{degrees} degrees", **fields)


def make(folder, items, *records: Record, fingerprint: str = "c") -> Corpus:
    """A corpus of ``items``, of a development record that a run needs, and of ``records``."""
    with CorpusWriter(folder, {"name": "test", "format": "shop", "fingerprint": fingerprint}) as writer:
        writer.add_catalog([*items, item(180)])
        for record in (Record("180", text="180", split="dev"), *records):
            writer.add(record)
    return Corpus(folder)


def run(corpus: Corpus, tmp_path, config: MineConfig = ALL, embedder=None, **reader) -> tuple[Mined, MinedNegatives]:
    out = tmp_path / "mined.parquet"
    store = PictureStore(tmp_path / "cache", Settings())
    options = {"search": top_k, "batch_size": 3, "track": lambda sequence, title: sequence}
    result = mine(corpus, embedder or Compass(), Reader(store, **reader), out, config, **options)
    return result, MinedNegatives.open(out, corpus)


def ids(corpus: Corpus, mined: MinedNegatives, row: int = 1) -> list[int]:
    return [int(corpus.item(found).id) for found in mined.for_record(row)]


def twice(positive: str, text: str, **fields) -> list[Record]:
    """Two equal records: fewer make no training set."""
    return [Record(positive, text=text, **fields)] * 2


LADDER = [item(degrees) for degrees in (0, 10, 20, 30, 40, 50, 60)]


def test_negatives_are_the_nearest_products_farther_than_the_positive(tmp_path):
    corpus = make(tmp_path / "c", LADDER, *twice("20", "0"))
    result, mined = run(corpus, tmp_path)
    assert ids(corpus, mined) == [30, 40, 50, 60]
    assert mined.for_record(0) == []
    assert (result.records, result.negatives, result.gallery) == (2, 8, 7)
    assert result.positive_score == pytest.approx(math.cos(math.radians(20)))
    expected = np.mean([math.cos(math.radians(angle)) for angle in (30, 40, 50, 60)])
    assert result.negative_score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MineConfig(), [30, 40, 50, 60]),
        (MineConfig(relative_margin=0.1), [40, 50, 60]),
        (MineConfig(relative_margin=0.0, absolute_margin=0.2), [50, 60]),
        (MineConfig(relative_margin=0.1, absolute_margin=0.001), [40, 50, 60]),
        (MineConfig(negatives=1), [30]),
        (MineConfig(top_k=5), [30, 40]),
        (MineConfig(range_min=4), [50, 60]),
    ],
)
def test_margins_ranks_and_numbers_limit_the_negatives(tmp_path, config, expected):
    corpus = make(tmp_path / "c", LADDER, *twice("20", "0"))
    assert ids(corpus, run(corpus, tmp_path, config)[1]) == expected


def test_what_is_as_right_as_the_positive_is_no_negative(tmp_path):
    items = [
        item(0, group="g"),
        item(10, group="g"),
        item(20, answers=("kind:sofa",)),
        item(30),
        Item("40", "0 DEGREES!"),
        item(50, answers=("kind:lamp",)),
        item(60),
    ]
    corpus = make(tmp_path / "c", items, *twice("0", "0", also_right=("30",), meaning="kind:sofa"))
    assert ids(corpus, run(corpus, tmp_path)[1]) == [50, 60]


def test_a_product_that_stands_in_many_records_is_embedded_once(tmp_path):
    corpus = make(tmp_path / "c", LADDER[:2], *[Record(item(5), text="6") for _ in range(3)], *twice("0", "5"))
    embedder = Compass()
    result, mined = run(corpus, tmp_path, embedder=embedder)
    assert sorted(product.title for product in embedder.products) == ["0 degrees", "10 degrees", "5 degrees"]
    assert result.gallery == 3
    assert ids(corpus, mined, 1) == [10, 0]


def test_products_of_other_splits_are_never_negatives(tmp_path):
    items = [*LADDER, item(15, group="held out"), item(16, group="held out")]
    held_out = [Record("30", text="0", split="test"), Record("20", text="0", negative="40", split="dev")]
    held_out += [Record("15", text="0", split="test"), Record("50", text="0", split="test")]
    corpus = make(tmp_path / "c", items, *twice("10", "0"), *twice("50", "0"), *held_out)
    embedder = Compass()
    result, mined = run(corpus, tmp_path, embedder=embedder)
    assert ids(corpus, mined) == [50, 60]
    assert result.records == 4
    assert {product.title for product in embedder.products} == {f"{n} degrees" for n in (0, 10, 50, 60)}
    assert not any(mined.for_record(row) for row in range(5, corpus.records))


def test_records_without_negatives_are_counted_by_reason(tmp_path):
    items = [item(0, group="g"), item(10, group="g"), item(20, group="g"), item(30), Item("empty")]
    gone = Picture(str(tmp_path / "gone.png"))
    records = [
        *twice("0", "0"),
        Record("30", text="0"),
        Record("empty", text="0"),
        Record("0", picture=gone),
    ]
    corpus = make(tmp_path / "c", items, *records)
    result, mined = run(corpus, tmp_path, MineConfig(top_k=3, relative_margin=0.0))
    assert result.none == {
        "mask: all as right": 2,
        "margin: all too close to the positive": 1,
        "query or positive cannot be read": 2,
    }
    assert (result.records, len(mined), result.unreadable) == (0, 0, 1)
    assert not any(mined.for_record(row) for row in range(corpus.records))


def test_a_query_is_embedded_with_the_modalities_that_it_is_for(tmp_path):
    Image.new("RGB", (8, 8), (7, 0, 0)).save(tmp_path / "a.png")
    picture = Picture(str(tmp_path / "a.png"), (1.0, 1.0, 4.0, 4.0))
    records = [
        Record("0", text="1", picture=picture),
        Record("0", text="2", picture=picture, modalities=("image",)),
        Record("0", text="3", picture=picture, modalities=("text",)),
        Record("0", text="4", segment="category"),
    ]
    corpus, embedder = make(tmp_path / "c", LADDER, *records), Compass()
    run(corpus, tmp_path, embedder=embedder)
    assert [(q.text, q.image is not None, q.box) for q in embedder.queries] == [
        ("1", True, (1.0, 1.0, 4.0, 4.0)),
        ("", True, (1.0, 1.0, 4.0, 4.0)),
        ("3", False, None),
    ]
    assert embedder.labels == [("4", "category")]


def test_boxes_of_a_detector_mark_the_product_in_the_query(tmp_path):
    Image.new("RGB", (2048, 8 * 128), (7, 0, 0)).save(tmp_path / "a.png")
    picture = Picture(str(tmp_path / "a.png"))
    with BoxWriter(tmp_path / "boxes", {"guided": False}) as writer:
        writer.add({picture_key(picture, ""): ((200, 100, 400, 300), FOUND)})
    corpus, embedder = make(tmp_path / "c", LADDER, *twice("0", "1", picture=picture)), Compass()
    run(corpus, tmp_path, embedder=embedder, boxes=BoxCache.open(tmp_path / "boxes"))
    assert [query.box for query in embedder.queries] == [(100, 50, 200, 150)] * 2


def test_chunks_do_not_change_the_result(tmp_path, monkeypatch):
    corpus = make(tmp_path / "c", LADDER, *(Record(str(n), text=str(n + 1)) for n in range(0, 70, 10)))
    whole = [run(corpus, tmp_path)[1].for_record(row) for row in range(corpus.records)]
    monkeypatch.setattr(mining, "CHUNK", 2)
    assert [run(corpus, tmp_path)[1].for_record(row) for row in range(corpus.records)] == whole
    assert sum(map(len, whole)) > 10


def test_negatives_of_another_data_set_are_refused(tmp_path):
    corpus = make(tmp_path / "c", LADDER, *twice("20", "0"))
    run(corpus, tmp_path)
    other = make(tmp_path / "other", LADDER, *twice("20", "0"), fingerprint="other")
    with pytest.raises(CatalogError, match="mined from another data set"):
        MinedNegatives.open(tmp_path / "mined.parquet", other)


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_what_is_no_file_of_negatives_says_how_to_make_one(tmp_path, content):
    if content is not None:
        (tmp_path / "mined.parquet").write_bytes(content)
    corpus = make(tmp_path / "c", LADDER, *twice("20", "0"))
    with pytest.raises(CatalogError, match="make them with `trainer mine`"):
        MinedNegatives.open(tmp_path / "mined.parquet", corpus)


def test_vectors_that_are_no_numbers_end_the_run_and_leave_no_file(tmp_path):
    corpus = make(tmp_path / "c", [Item("a", "nan"), *LADDER], *twice("20", "0"))
    with pytest.raises(ModelError, match="not numbers"):
        run(corpus, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_queries_without_words_or_picture_have_no_vector(tmp_path):
    corpus = make(tmp_path / "c", LADDER, Record("0", text="  "), *twice("0", "3"))
    reader = Reader(PictureStore(tmp_path / "cache", Settings()))
    rows = corpus.rows_of("train")
    vectors, known = embed_queries(corpus, Compass(), reader, rows, 2, lambda sequence, title: sequence, "")
    assert known.tolist() == [False, True, True]
    assert vectors[1] == pytest.approx(unit("3"))
