from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from app.errors import CatalogError
from trainer.data.corpus import Corpus, StoredRecord
from trainer.data.open import open_corpus, read_problems
from trainer.data.shop_log import COLUMNS, normalised, seconds

START = datetime(2024, 1, 1, tzinfo=UTC)
CATALOG = [
    {"id": str(n), "title": f"Chair {n}", "category": "Furniture > Chairs", "images": f"pictures/{n}.jpg"}
    for n in range(30)
]


def day(number: float) -> str:
    return (START + timedelta(days=number)).isoformat()


def row(query: str, product: str, event: str = "purchase", when: float = 0, **more) -> dict:
    return {"query": query, "product_id": product, "event": event, "time": day(when), **more}


SPAN = [row("first", "28", when=0), row("last", "29", when=100)]
"""A log that lasts a hundred days: dev begins after day 80, test after day 90."""


def shop(folder: Path, log: list[dict], **options) -> Corpus:
    folder.mkdir(exist_ok=True)
    pl.DataFrame(CATALOG).write_csv(folder / "catalog.csv")
    pl.DataFrame(log, infer_schema_length=None).write_csv(folder / "log.csv")
    return open_corpus(folder, cache=folder.parent / "cache", **options)


def records(corpus: Corpus) -> dict[tuple[str, str], StoredRecord]:
    found = [corpus.record(number) for number in range(corpus.records)]
    return {(record.text, corpus.item(record.positive).id): record for record in found}


def test_events_of_a_query_and_product_become_one_record_with_their_summed_weight(tmp_path):
    log = [row("red chair", "1", event) for event in ("click", "click", "add_to_cart", "Purchase", "Add to cart")]
    found = records(shop(tmp_path / "s", log + SPAN))
    assert found["red chair", "1"].weight == pytest.approx(0.2 + 0.2 + 0.5 + 1.0 + 0.5)
    assert len(found) == 3


def test_queries_that_differ_in_case_and_spaces_are_one(tmp_path):
    found = records(shop(tmp_path / "s", [row("Red chair", "1"), row(" red  CHAIR", "1"), *SPAN]))
    assert sorted(product for _, product in found) == ["1", "28", "29"]


def test_other_products_bought_for_the_query_are_right_too_the_heaviest_first(tmp_path):
    log = [row("chair", "1", "click"), row("Chair", "2"), row("chair", "3", "add_to_cart"), *SPAN]
    found = records(shop(tmp_path / "s", log))
    products = {product: record.also_right for (_, product), record in found.items()}
    assert products["1"] == ("2", "3")
    assert products["2"] == ("3", "1")
    assert products["28"] == ()


def test_at_most_16_other_products_are_named(tmp_path):
    found = records(shop(tmp_path / "s", [row("chair", str(n)) for n in range(28)] + SPAN))
    assert {len(record.also_right) for (text, _), record in found.items() if text == "chair"} == {16}
    assert all(product not in record.also_right for (_, product), record in found.items())


def test_the_newest_tenth_of_the_time_is_test_and_the_tenth_before_it_dev(tmp_path):
    log = [row(f"day {n}", "1", when=n) for n in (10, 80, 81, 90, 91)]
    found = records(shop(tmp_path / "s", log + SPAN))
    splits = {text: record.split for (text, _), record in found.items()}
    assert splits == {
        **{"first": "train", "day 10": "train", "day 80": "train"},
        **{"day 81": "dev", "day 90": "dev", "day 91": "test", "last": "test"},
    }


def test_a_query_may_come_again_later_but_not_with_the_same_product(tmp_path):
    log = [row("chair", "1", when=5), row("chair", "1", when=95), row("chair", "2", when=95)]
    found = records(shop(tmp_path / "s", log + SPAN))
    assert found["chair", "1"].split == "train"
    assert found["chair", "1"].weight == 1.0
    assert found["chair", "2"].split == "test"


def test_training_records_do_not_know_what_was_bought_later(tmp_path):
    log = [row("chair", "1", when=5), row("chair", "2", when=95)]
    found = records(shop(tmp_path / "s", log + SPAN))
    assert found["chair", "1"].also_right == ()
    assert found["chair", "2"].also_right == ("1",)


def test_without_times_every_query_is_in_one_split_and_about_a_tenth_is_held_out(tmp_path):
    log = [{"query": f"chair {n}", "product_id": str(p)} for n in range(300) for p in (1, 2)]
    found = records(shop(tmp_path / "s", log))
    splits = {(text, record.split) for (text, _), record in found.items()}
    assert len(splits) == 300
    counts = [sum(split == name for _, split in splits) for name in ("train", "dev", "test")]
    assert counts[0] > 210
    assert min(counts[1:]) > 12
    assert {record.weight for record in found.values()} == {1.0}


def test_a_log_of_one_moment_is_all_for_training(tmp_path):
    found = records(shop(tmp_path / "s", [row("a", "1"), row("b", "2")]))
    assert {record.split for record in found.values()} == {"train"}


@pytest.mark.parametrize(
    ("broken", "field", "reason"),
    [
        (row("chair", "99"), "product", "product '99' is not in the catalog"),
        (row("chair", ""), "product", "no product id"),
        (row("  ", "1"), "query", "the query is empty"),
        (row("chair", "1", "wishlist"), "event", "the event 'wishlist' is not known"),
        (row("chair", "1") | {"time": "yesterday"}, "time", "'yesterday' is no time"),
        (row("chair", "1") | {"time": ""}, "time", "'' is no time"),
        (row("chair", "1") | {"time": "1970-01-01"}, "time", "'1970-01-01' is not between 1990 and 2100"),
    ],
)
def test_a_row_that_cannot_be_used_costs_itself_and_one_line(tmp_path, broken, field, reason):
    corpus = shop(tmp_path / "s", [*SPAN, broken])
    problems = read_problems(corpus).problems
    assert [(p.severity, p.row, p.field, p.reason) for p in problems] == [("reject", 3, field, reason)]
    assert corpus.records == 2


def test_events_weigh_what_the_caller_says_and_zero_leaves_them_out(tmp_path):
    log = [row("chair", "1", "view"), row("chair", "2", "purchase"), row("chair", "3", "bounce"), *SPAN]
    corpus = shop(tmp_path / "s", log, events={"view": 0.1, "purchase": 2, "bounce": 0})
    weights = {product: record.weight for (text, product), record in records(corpus).items() if text == "chair"}
    assert weights == pytest.approx({"1": 0.1, "2": 2.0})
    assert not read_problems(corpus).problems


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_logs_come_in_four_formats(tmp_path, suffix):
    log = pl.DataFrame([row("chair", "1"), row("tab\tle", "2"), *SPAN])
    file = tmp_path / f"clicks.{suffix}"
    match suffix:
        case "csv":
            log.write_csv(file)
        case "tsv":
            log.write_csv(file, separator="\t")
        case "parquet":
            times = pl.col("time").str.to_datetime(time_zone="UTC")
            log.with_columns(times, pl.col("product_id").cast(int)).write_parquet(file)
        case "jsonl":
            log.write_ndjson(file)
    pl.DataFrame(CATALOG).write_parquet(tmp_path / "goods.parquet")
    corpus = open_corpus(tmp_path / "goods.parquet", log=file, cache=tmp_path / "cache")
    assert set(records(corpus)) == {("chair", "1"), ("tab le", "2"), ("first", "28"), ("last", "29")}


@pytest.mark.parametrize(("field", "alias"), [(field, alias) for field, names in COLUMNS.items() for alias in names])
def test_every_name_of_a_log_column_is_understood(tmp_path, field, alias):
    names = {"text": "query", "product": "product_id", "event": "event", "time": "time", "image": "query_image"}
    rows = [row("chair", "1", "click", 1, query_image="q.jpg"), row("first", "28"), row("last", "29", when=100)]
    log = [{alias.upper() if key == names[field] else key: value for key, value in cells.items()} for cells in rows]
    corpus = shop(tmp_path / "s", log)
    record = records(corpus)["chair", "1"]
    assert record.weight == pytest.approx(0.2)
    assert record.picture.location == str(tmp_path / "s" / "q.jpg")
    assert record.split == "train"
    assert not read_problems(corpus).problems


def test_a_query_may_be_a_photo_alone_and_the_same_words_with_a_photo_are_another_query(tmp_path):
    log = [
        *({**cells, "query_image": ""} for cells in [row("in red", "1"), *SPAN]),
        row("in red", "2", query_image="a.jpg"),
        row("", "3", query_image="https://shop.example/b.jpg"),
    ]
    found = records(shop(tmp_path / "s", log))
    assert found["in red", "1"].also_right == found["in red", "2"].also_right == ()
    assert found["in red", "2"].modalities == ("image", "text", "both")
    assert found["", "3"].modalities == ("image",)
    assert found["", "3"].picture.location == "https://shop.example/b.jpg"


def test_products_keep_their_pictures_category_and_attributes(tmp_path):
    folder = tmp_path / "s"
    corpus = shop(folder, SPAN)
    item = corpus.item(corpus.record(0).positive)
    assert item.title.startswith("Chair 2")
    assert item.category == ("Furniture", "Chairs")
    assert item.pictures[0].location == str(folder / f"pictures/{item.id}.jpg")
    assert corpus.items == 30


def test_a_broken_json_line_of_the_log_is_reported(tmp_path):
    pl.DataFrame(CATALOG).write_csv(tmp_path / "catalog.csv")
    lines = [json.dumps(cells) for cells in SPAN]
    (tmp_path / "log.jsonl").write_text("\n".join([lines[0], '{"query": "cha', "[1]", lines[1]]))
    corpus = open_corpus(tmp_path, cache=tmp_path / "cache")
    assert [(p.row, p.field) for p in read_problems(corpus).problems] == [(2, "row"), (3, "row")]
    assert corpus.records == 2


def test_a_log_without_a_query_column_names_what_it_has(tmp_path):
    log = [{"product_id": "1", "shopper": "x"}]
    with pytest.raises(CatalogError, match=r"no column for the query.*Columns found: product_id, shopper"):
        shop(tmp_path / "s", log)


def test_a_log_of_which_no_row_is_left_says_why(tmp_path):
    with pytest.raises(CatalogError, match=r"no row of the log can be used.*product '77' is not in the catalog"):
        shop(tmp_path / "s", [row("chair", "77")])


MOMENTS = [
    *("2024-05-01T12:00:00Z", "2024-05-01 12:00:00", "2024-05-01T14:00:00+02:00", "1714564800", "1714564800.0"),
    *(1714564800, 1714564800000, "1714564800000", 1714564800e6, datetime(2024, 5, 1, 12)),
]


@pytest.mark.parametrize("cell", MOMENTS)
def test_times_are_read_in_their_usual_spellings(cell):
    assert seconds(cell) == 1714564800


def test_dates_are_midnight():
    assert seconds("20240501") == seconds(date(2024, 5, 1)) == seconds("2024-05-01") == 1714521600


@pytest.mark.parametrize("cell", [None, "", "soon", True, float("nan"), [1], 0, "9999999999"])
def test_what_is_no_time_is_refused(cell):
    with pytest.raises(ValueError, match=r".+"):
        seconds(cell)


def test_normalised_queries_keep_their_punctuation():
    assert normalised("Ｃ++  Book") == "c++ book"


def test_of_several_products_with_one_id_the_last_counts(tmp_path):
    products = [{"id": "1", "title": "old"}, {"id": "2", "title": "lamp"}, {"id": "1", "title": "new"}]
    pl.DataFrame(products).write_csv(tmp_path / "catalog.csv")
    pl.DataFrame([row("chair", "1"), row("lamp", "2")]).write_csv(tmp_path / "log.csv")
    corpus = open_corpus(tmp_path, cache=tmp_path / "cache")
    assert {item.id: item.title for item in map(corpus.item, range(corpus.items))} == {"1": "new", "2": "lamp"}
    assert [(p.row, p.field, p.reason) for p in read_problems(corpus).problems] == [
        (1, "id", "row 3 has the same id, the last one counts")
    ]


def test_columns_of_the_catalog_that_are_not_used_are_named_in_a_warning(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    pl.DataFrame([{"id": "1", "title": "Chair", "file": "1.jpg", "stock": "9"}]).write_csv(folder / "catalog.csv")
    pl.DataFrame([row("chair", "1")]).write_csv(folder / "log.csv")
    report = read_problems(open_corpus(folder, cache=tmp_path / "cache"))
    assert [(problem.severity, problem.reason) for problem in report.problems] == [("warning", "not used: file, stock")]
    assert "images" in report.problems[0].remedy
