import doctest
import json

import pytest

from app.catalog import columns, exports, names
from app.catalog.columns import choose, read_mapping
from app.catalog.problems import Report
from app.catalog.products import stream_catalog
from app.errors import CatalogError


@pytest.mark.parametrize("module", [columns, exports, names])
def test_the_examples_in_the_documentation_hold(module):
    assert doctest.testmod(module).failed == 0


def products(file, given=None):
    return [row.product for row in stream_catalog(file, Report(), given)]


def dumped(file, given=None):
    return [product.model_dump(exclude_defaults=True) for product in products(file, given)]


def test_a_google_feed_is_understood_without_a_mapping(write_csv):
    header = "g:id,title,link,g:image_link,additional image link,price,product_type,google_product_category"
    header += ",brand,color,item_group_id"
    row = '7,Chair,https://x.org/7,https://x.org/a.jpg,"https://x.org/b.jpg,https://x.org/c.jpg",15.00 EUR'
    row += ",Home > Chairs,436,Oak & Co,Black,G1"
    assert dumped(write_csv(f"{header}\n{row}\n")) == [
        {
            "id": "7",
            "title": "Chair",
            "group_id": "G1",
            "category": ["Home", "Chairs"],
            "attributes": {"brand": ["Oak & Co"], "color": ["Black"]},
            "numbers": {"price": 15.0},
            "images": ["https://x.org/a.jpg", "https://x.org/b.jpg", "https://x.org/c.jpg"],
            "url": "https://x.org/7",
        }
    ]


def test_the_rows_of_a_shopify_product_become_one_product(write_csv):
    file = write_csv(
        "Handle,Title,Vendor,Product Category,Type,Option1 Name,Option1 Value,Variant SKU,Variant Price,"
        "Image Src,Variant Image\n"
        "oak-chair,Oak chair,Maker,Furniture > Chairs,Chair,Color,Red,S1,99.00,https://x.org/1.jpg,\n"
        "oak-chair,,,,,,Blue,S2,89.00,https://x.org/2.jpg,https://x.org/blue.jpg\n"
        "oak-chair,,,,,,,,,https://x.org/3.jpg,\n"
        "lamp,Lamp,Maker,,Lamp,Title,Default Title,S3,10.00,https://x.org/4.jpg,\n"
    )
    chair, lamp = products(file)
    assert (chair.id, chair.title, chair.category) == ("oak-chair", "Oak chair", ["Furniture", "Chairs"])
    assert chair.attributes == {"brand": ["Maker"], "Color": ["Red", "Blue"]}
    assert chair.numbers == {"price": 99.0}
    assert chair.images == [f"https://x.org/{name}.jpg" for name in ("1", "2", "3", "blue")]
    assert (lamp.id, lamp.attributes, lamp.images) == ("lamp", {"brand": ["Maker"]}, ["https://x.org/4.jpg"])


def test_a_shop_of_the_same_names_may_have_lists(tmp_path):
    file = tmp_path / "catalog.jsonl"
    file.write_text('{"handle": "a", "title": "Chair", "variant_price": 5, "image": ["https://x.org/1.jpg"]}')
    (chair,) = products(file)
    assert (chair.id, chair.numbers, chair.images) == ("a", {"price": 5.0}, ["https://x.org/1.jpg"])


def test_problems_of_a_shopify_product_name_its_first_row(write_csv):
    file = write_csv(
        "Handle,Title,Variant Price,Image Src\na,Chair,5,\na,,,x.jpg,more,fields\nb,Lamp,cheap,\nb,,,y.jpg\n"
    )
    report = Report()
    assert [row.number for row in stream_catalog(file, report)] == [1, 3]
    assert [(p.row, p.field) for p in report.problems] == [(2, "row"), (3, "numbers.price")]


def test_a_woocommerce_export_is_understood_without_a_mapping(write_csv):
    file = write_csv(
        "ID,Type,SKU,Name,Weight (kg),Regular price,Categories,Images,Attribute 1 name,Attribute 1 value(s)\n"
        '44,simple,W-1,Hoodie,1.5,45,"Clothing > Hoodies, Sale","https://x.org/1.jpg, https://x.org/2.jpg",'
        'Color,"Blue, Green"\n'
    )
    (hoodie,) = products(file)
    assert (hoodie.id, hoodie.title, hoodie.category) == ("44", "Hoodie", ["Clothing", "Hoodies"])
    assert hoodie.numbers == {"price": 45.0, "weight_kg": 1.5}
    assert hoodie.attributes == {"Color": ["Blue", "Green"]}
    assert hoodie.images == ["https://x.org/1.jpg", "https://x.org/2.jpg"]


@pytest.mark.parametrize(
    ("header", "guessed"),
    [
        ("Artikelnummer;Bezeichnung;Preis;Bild_URL;Farbe", "id title price images attributes.color"),
        ("SKU,Product Name,image_1,image_2,name_de,Height (cm)", "id title images titles.de height_cm"),
        ("Référence,nom,prix", "id title price"),
    ],
)
def test_usual_names_are_guessed(header, guessed):
    chosen = choose(header.replace(";", ",").split(","))
    assert set(guessed.split()) == chosen.guessed


def test_our_own_names_come_before_guesses_and_the_best_guess_before_others():
    chosen = choose(
        ["sku", "id", "name", "title", "type", "product_type", "regular_price", "price", "attr_color", "color"]
    )
    assert chosen.used == {
        **{name: (name,) for name in ("id", "title", "price", "regular_price", "attr_color")},
        "category": ("product_type",),
    }
    assert chosen.unused == ("sku", "name", "type", "color")


def test_a_regular_price_is_the_price_where_there_is_no_other():
    assert choose(["id", "regular_price", "sale_price"]).used["price"] == ("regular_price",)


def test_a_mapping_comes_before_everything(write_csv):
    file = write_csv("id,number,title,text,level a,level b,photo,more\n1,A7,x,Chair,Home,Chairs,a.jpg,b.jpg|c.jpg\n")
    given = read_mapping(["id=number", "title=text", "category=level a,level b", "images=photo,more"])
    (chair,) = products(file, given)
    assert (chair.id, chair.title, chair.category) == ("A7", "Chair", ["Home", "Chairs"])
    assert [image.rpartition("/")[2] for image in chair.images] == ["a.jpg", "b.jpg", "c.jpg"]


def test_of_several_columns_for_a_text_the_first_that_is_filled_counts(write_csv):
    file = write_csv("id,short,long\n1,,Oak chair\n2,Desk,Oak desk\n")
    assert [product.title for product in products(file, {"title": ("short", "long")})] == ["Oak chair", "Desk"]


def test_an_empty_mapping_takes_a_field_away(write_csv):
    file = write_csv("id,title,url,attr_color,colour\n1,Chair,https://x.org,red,blue\n")
    assert dumped(file, read_mapping(["url=", "attr_color="])) == [{"id": "1", "title": "Chair"}]


def test_a_mapping_replaces_a_column_of_our_own_name(write_csv):
    file = write_csv("id,title,attr_color,price,shade,cost\n1,Chair,red,5,dark | light,7\n")
    given = read_mapping(["attributes.color=shade", "price=cost"])
    assert dumped(file, given)[0] == {
        "id": "1",
        "title": "Chair",
        "attributes": {"color": ["dark", "light"]},
        "numbers": {"price": 7.0},
    }


def test_json_lines_may_leave_out_what_is_empty(tmp_path):
    file = tmp_path / "catalog.jsonl"
    rows = [{"sku": "1", "name": "Chair"}, {"sku": "2", "name": "Desk", "farbe": "red"}, {"sku": "3"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert dumped(file) == [
        {"id": "1", "title": "Chair"},
        {"id": "2", "title": "Desk", "attributes": {"color": ["red"]}},
    ]


def test_a_mapping_file_says_the_same_as_options(tmp_path):
    file = tmp_path / "columns.toml"
    file.write_text('title = "name"\nimages = ["a", "b"]\nurl = ""\n[attributes]\ncolor = "Farbe"\n')
    options = ["title=name", "images=a,b", "url=", "attributes.color=Farbe"]
    assert read_mapping([str(file)]) == read_mapping(options)
    assert read_mapping([str(file), "title=other"])["title"] == ("other",)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("colour=farbe", "there is no field 'colour'; use one of id, title"),
        ("gone.toml", "not FIELD=COLUMN, and no mapping file can be read there"),
        ("broken.toml", "not valid TOML"),
        ("number.toml", "title must be the name of a column, or a list of names"),
    ],
)
def test_a_mapping_that_makes_no_sense_says_why(tmp_path, monkeypatch, word, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.toml").write_text("title name")
    (tmp_path / "number.toml").write_text("title = 5")
    with pytest.raises(CatalogError, match=message):
        read_mapping([word])


def test_a_mapping_to_a_column_that_is_not_there_lists_those_that_are(write_csv):
    file = write_csv("id,name\n1,Chair\n")
    with pytest.raises(CatalogError, match=rf"{file}: there is no column 'text' for title; the catalog has: id, name"):
        products(file, {"title": ("text",)})


def test_the_columns_of_every_file_can_be_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("id,name,stock\n1,Chair,9\n")
    (tmp_path / "b.csv").write_text("sku,title\n1,Chair\n")
    told = {}
    list(stream_catalog(tmp_path, Report(), tell=told.__setitem__))
    assert list(told) == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    first, second = told.values()
    assert (first.guessed, first.unused) == ({"title"}, ("stock",))
    assert (second.guessed, second.unused) == ({"id"}, ())
