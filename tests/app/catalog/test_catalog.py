import json
from pathlib import Path

import polars as pl
import pytest

from app.catalog.problems import Report
from app.catalog.products import stream_catalog
from app.errors import CatalogError

DEMO = Path(__file__).parents[3] / "demo" / "catalog.parquet"

RECORD = {
    "id": "sofa-1",
    "title": "Corner sofa",
    "titles": {"de": "Ecksofa", "fr": None},
    "group_id": "sofa",
    "category": ["Furniture", "Sofas"],
    "attributes": {"color": ["grey", "blue"], "material": "linen", "style": []},
    "price": 1299.0,
    "width_cm": 240.5,
    "images": ["pictures/1.jpg", "https://example.org/2.jpg"],
    "url": "https://example.org/sofa",
    "licence": "CC0-1.0",
}


def read(file):
    report = Report()
    return [row.product for row in stream_catalog(file, report)], report.problems


def assert_is_the_sofa(product, folder):
    assert product.model_dump(exclude_defaults=True) == {
        "id": "sofa-1",
        "title": "Corner sofa",
        "titles": {"de": "Ecksofa"},
        "group_id": "sofa",
        "category": ["Furniture", "Sofas"],
        "attributes": {"color": ["grey", "blue"], "material": ["linen"]},
        "numbers": {"price": 1299.0, "width_cm": 240.5},
        "images": [str(folder / "pictures/1.jpg"), "https://example.org/2.jpg"],
        "url": "https://example.org/sofa",
        "licence": "CC0-1.0",
    }


def test_parquet_with_lists_and_structs(write_rows, tmp_path):
    products, problems = read(write_rows([RECORD]))
    assert_is_the_sofa(products[0], tmp_path)
    assert problems == []


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_json_lines(tmp_path, suffix):
    file = tmp_path / f"catalog.{suffix}"
    file.write_text(f"{json.dumps(RECORD)}\n\n")
    products, problems = read(file)
    assert_is_the_sofa(products[0], tmp_path)
    assert problems == []


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_separated_text_with_json_cells(tmp_path, name, separator):
    cells = {
        **RECORD,
        "titles": json.dumps(RECORD["titles"]),
        "category": "Furniture > Sofas",
        "attributes": json.dumps(RECORD["attributes"]),
        "price": "€ 1.299,00",
        "images": "pictures/1.jpg|https://example.org/2.jpg",
    }
    pl.DataFrame([cells]).write_csv(tmp_path / name, separator=separator, include_bom=True)
    products, problems = read(tmp_path / name)
    assert_is_the_sofa(products[0], tmp_path)
    assert problems == []


@pytest.mark.parametrize("prefix", ["attr_", "attributes."])
def test_attribute_columns(write_csv, prefix):
    file = write_csv(f'id,title,{prefix}color,{prefix}room\n1,Chair,red | blue,"[""office""]"\n2,Desk,,\n')
    products, problems = read(file)
    assert products[0].attributes == {"color": ["red", "blue"], "room": ["office"]}
    assert products[1].attributes == {}
    assert problems == []


def test_number_columns_are_recognised_by_name_or_unit(write_csv):
    header = "id,title,price,sale_price,seat_height_cm,weight_kg,numbers.stars,stock"
    products, _ = read(write_csv(f"{header}\n1,Chair,10,8,45,3.5,4,99\n"))
    assert products[0].numbers == {
        "price": 10,
        "sale_price": 8,
        "seat_height_cm": 45,
        "weight_kg": 3.5,
        "stars": 4,
    }


def test_of_several_rows_with_one_id_the_last_one_counts(write_csv):
    products, problems = read(write_csv("id,title\n1,Old\n2,Desk\n1,New\n"))
    assert {product.id: product.title for product in products} == {"1": "New", "2": "Desk"}
    assert [(p.severity, p.id, p.row, p.field) for p in problems] == [("reject", "1", 1, "id")]
    assert "row 3" in problems[0].reason


def test_rows_without_id_or_content_are_rejected_with_a_remedy(write_csv):
    products, problems = read(write_csv("id,title,images\n,Chair,\n2,,\n3,,a.jpg\n4,Desk,\n"))
    assert [product.id for product in products] == ["3", "4"]
    assert [(p.severity, p.row, p.field) for p in problems] == [("reject", 1, "id"), ("reject", 2, "title")]
    assert all(p.reason and p.remedy for p in problems)


def test_an_overlong_id_is_rejected(write_csv):
    products, problems = read(write_csv(f"id,title\n{'x' * 600},Chair\n2,Desk\n"))
    assert [product.id for product in products] == ["2"]
    assert problems[0].field == "id"


def test_a_field_that_makes_no_sense_costs_only_itself(write_csv):
    header = "id,title,price,attributes,titles,url"
    products, problems = read(write_csv(f"{header}\n1,Chair,cheap,{{oops,x,javascript:alert(1)\n2,Desk,-5,,,\n"))
    assert [product.title for product in products] == ["Chair", "Desk"]
    assert products[0].model_dump(exclude_defaults=True) == {"id": "1", "title": "Chair"}
    assert {(p.severity, p.row, p.field) for p in problems} == {
        ("warning", 1, "numbers.price"),
        ("warning", 1, "attributes"),
        ("warning", 1, "titles"),
        ("warning", 1, "url"),
        ("warning", 2, "price"),
    }


def test_attribute_keys_that_cannot_be_filtered_are_left_out(tmp_path):
    file = tmp_path / "catalog.jsonl"
    file.write_text(json.dumps({"id": "1", "title": "Chair", "attributes": {'5" leg': "x", "": "y", "color": "red"}}))
    products, problems = read(file)
    assert products[0].attributes == {"color": ["red"]}
    assert [p.severity for p in problems] == ["warning", "warning"]


def test_a_broken_json_line_costs_only_itself(tmp_path):
    file = tmp_path / "catalog.jsonl"
    file.write_bytes(
        b'{"id": "1", "title": "A"}\n{"id": \n[1]\n{"id": "4", "title": "\xff"}\n{"id": 5, "title": "E"}\n'
    )
    products, problems = read(file)
    assert [product.id for product in products] == ["1", "5"]
    assert [(p.severity, p.row, p.field) for p in problems] == [("reject", row, "row") for row in (2, 3, 4)]


def test_a_broken_csv_row_costs_only_itself(tmp_path):
    file = tmp_path / "catalog.csv"
    file.write_bytes("id,title\n1,Café chair\n2,Desk, large\n".encode() + b"3,Caf\xe9 table\n\n4\n5,Lamp\n")
    products, problems = read(file)
    assert [product.id for product in products] == ["1", "5"]
    assert [(p.id, p.row, p.field) for p in problems] == [("", 2, "row"), ("", 3, "row"), ("4", 4, "title")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("catalog.xlsx", b"x", "unknown catalog format; use one of .parquet, .csv"),
        ("catalog.parquet", b"PAR1 but not really", "not a complete Parquet file"),
        ("catalog.csv", b"", "no rows"),
        ("catalog.csv", b"id,title\n", "no rows"),
        ("catalog.csv", b"number,title\n1,Chair\n", "no column 'id'; it has: number, title"),
        ("catalog.csv", b"id,title,title\n1,Chair,x\n", "title more than once"),
        ("catalog.jsonl", b"\n", "no rows"),
    ],
)
def test_a_catalog_that_cannot_be_read_as_a_whole_says_why(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)


def test_a_truncated_parquet_catalog_says_so(write_rows):
    file = write_rows([RECORD] * 50)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CatalogError, match="export the catalog again"):
        read(file)


def test_a_missing_catalog_says_so(tmp_path):
    with pytest.raises(CatalogError, match="no such catalog file"):
        read(tmp_path / "gone.csv")


def test_the_demo_catalog_is_read_completely():
    products, problems = read(DEMO)
    assert (len(products), problems) == (1561, [])
    chair = products[0]
    assert chair.category == ["Furniture", "Office seating", "office armchair"]
    assert "material" not in chair.attributes
    assert "style" not in chair.attributes
    assert set(chair.numbers) == {"width_cm", "depth_cm", "height_cm"}
    assert all(Path(image).is_file() for product in products for image in product.images)
    assert all(product.attribution for product in products)


def test_repeated_products_come_last_and_every_row_that_went_before_is_reported(tmp_path):
    file = tmp_path / "catalog.csv"
    file.write_text("id,title\n1,old\n2,lamp\n,no id\n1,new\n3,\n1,\n")
    products, problems = read(file)
    assert [product.title for product in products] == ["lamp", "new"]
    assert [(p.severity, p.id, p.row, p.field) for p in problems] == [
        ("reject", "", 3, "id"),
        ("reject", "1", 1, "id"),
        ("reject", "3", 5, "title"),
        ("reject", "1", 6, "title"),
    ]


def test_products_with_equal_cells_share_no_list(write_csv):
    rows = "id,title,category,attr_color\n1,a,Home > Sofas,red | blue\n2,b,Home > Sofas,red | blue\n"
    (first, second), _ = read(write_csv(rows))
    first.category.append("Corner sofas")
    first.attributes["color"].append("green")
    assert second.category == ["Home", "Sofas"]
    assert second.attributes == {"color": ["red", "blue"]}
