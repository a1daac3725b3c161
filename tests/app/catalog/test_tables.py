import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.encodings import text_encoding
from app.catalog.problems import Report
from app.catalog.products import stream_catalog
from app.catalog.tables import BrokenRow, read_rows

TEXT = "id,title\n1,Café-Tisch für 12 €\n2,Stuhl\n"


def read(file):
    report = Report()
    return [row.product.title for row in stream_catalog(file, report)], report.problems


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.jsonl"])
def test_unicode_is_read_with_and_without_a_mark(tmp_path, encoding, mark, name):
    text = '{"id": "1", "title": "Café-Tisch für 12 €"}\n{"id": "2", "title": "Stuhl"}\n' if "json" in name else TEXT
    (tmp_path / name).write_bytes(mark + text.encode(encoding))
    assert read(tmp_path / name) == (["Café-Tisch für 12 €", "Stuhl"], [])


def test_windows_text_is_read_and_reported(tmp_path):
    (tmp_path / "a.csv").write_bytes(TEXT.encode("cp1252"))
    titles, (problem,) = read(tmp_path / "a.csv")
    assert titles == ["Café-Tisch für 12 €", "Stuhl"]
    assert (problem.severity, problem.field) == ("warning", "encoding")
    assert "read as Windows-1252" in problem.reason
    assert "save the catalog as UTF-8" in problem.remedy
    assert Report([problem]).summary()[1].startswith("    the catalog: not UTF-8")


def test_accents_that_come_late_tell_the_encoding_too(tmp_path):
    lines = "".join(f"{number},plain title of a product\n" for number in range(60_000))
    (tmp_path / "a.csv").write_bytes(f"id,title\n{lines}x,Möbel\n".encode("cp1252"))
    assert text_encoding(tmp_path / "a.csv") == "cp1252"


def test_a_stray_byte_among_valid_text_costs_its_row(tmp_path):
    (tmp_path / "a.csv").write_bytes(TEXT.encode() + b"3,B\xf6rse\n")
    titles, (problem,) = read(tmp_path / "a.csv")
    assert len(titles) == 2
    assert (problem.severity, problem.row, problem.reason) == ("reject", 3, "not UTF-8 text")


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",))), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(",;\t|"),
)
def test_any_cells_survive_any_separator(tmp_path_factory, rows, separator):
    import csv

    file = tmp_path_factory.mktemp("separators") / "a.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(
            [["id", "title, long; or | not"], *rows]
        )
    assert [list(row.values()) for row in read_rows(file)] == [row for row in rows if any(row)]


def test_the_line_of_spreadsheets_that_names_the_separator_is_understood(tmp_path):
    (tmp_path / "a.csv").write_text("sep=;\nid;title, a or b\n1;x, y\n")
    assert list(read_rows(tmp_path / "a.csv")) == [{"id": "1", "title, a or b": "x, y"}]


def test_empty_columns_and_rows_of_spreadsheets_are_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text("id,title,,\n1,Chair,,\n2,Desk,,,,\n,,,\n,,\n")
    assert list(read_rows(tmp_path / "a.csv")) == [{"id": "1", "title": "Chair"}, {"id": "2", "title": "Desk"}]


def test_a_cell_without_end_does_not_take_the_file_with_it(tmp_path):
    (tmp_path / "a.csv").write_text('id,title\n1,"open\n' + "2,Chair\n" * 30_000)
    rows = list(read_rows(tmp_path / "a.csv"))
    assert any(isinstance(row, BrokenRow) for row in rows)
    assert {"id": "2", "title": "Chair"} in rows
