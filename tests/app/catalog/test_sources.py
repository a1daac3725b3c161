import doctest
import gzip
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import fsspec
import pytest

from app.catalog import sources
from app.catalog.fields import pictures
from app.catalog.problems import Report
from app.catalog.products import stream_catalog
from app.catalog.sources import catalog_files
from app.errors import CatalogError

ONE, TWO = "id,title,images\n1,Chair,a.jpg\n", "id,title\n2,Desk\n"


def products(location):
    return [row.product for row in stream_catalog(location, Report())]


def ids(location):
    return [product.id for product in products(location)]


def test_the_examples_in_the_documentation_hold():
    assert doctest.testmod(sources).failed == 0


def test_a_folder_is_read_file_by_file_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/1.tsv").write_text("id\ttitle\n3\tLamp\n")
    (tmp_path / "a.csv").write_text(TWO)
    (tmp_path / "0.jsonl").write_text('{"id": "1", "title": "Chair"}\n')
    for name in ("notes.txt", ".hidden.csv", "_part.csv", "a.jpg"):
        (tmp_path / name).write_text("not a catalog")
    assert ids(tmp_path) == ids(str(tmp_path)) == ["1", "2", "3"]


def test_pictures_and_problems_of_a_folder_belong_to_their_file(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.csv").write_text(ONE)
    (tmp_path / "b/b.csv").write_text("id,title,images\n1,New chair,x/a.jpg\n,Desk,\n")
    report = Report()
    (row,) = stream_catalog(tmp_path, report)
    assert (row.product.images, row.number) == ([str(tmp_path / "b/x/a.jpg")], 1)
    assert row.file == str(tmp_path / "b/b.csv")
    double, missing = report.problems
    assert (missing.file, missing.row, missing.field) == (str(tmp_path / "b/b.csv"), 2, "id")
    assert (double.file, double.row) == (str(tmp_path / "a.csv"), 1)
    assert f"row 1 of {tmp_path / 'b/b.csv'} has the same id" in double.reason
    assert any(f"{tmp_path / 'a.csv'}, row 1, 1:" in line for line in report.summary())


def test_a_compressed_file_is_read_as_what_is_in_it(tmp_path):
    (tmp_path / "catalog.csv.gz").write_bytes(gzip.compress(ONE.encode()))
    (product,) = products(tmp_path / "catalog.csv.gz")
    assert product.images == [str(tmp_path / "a.jpg")]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as packed:
        packed.writestr("feeds/one.csv", ONE)
        packed.writestr("feeds/two.csv", TWO)
        packed.writestr("feeds/readme.txt", "not a catalog")
    return tmp_path / "shop.zip"


def test_an_archive_is_read_like_a_folder_and_its_pictures_are_its_members(archive):
    assert ids(archive) == ids(f"zip://feeds::{archive}") == ["1", "2"]
    (product,) = products(f"zip://feeds/one.csv::{archive}")
    assert product.images == [f"zip://feeds/a.jpg::{archive}"]


def test_other_file_systems_are_read_by_their_urls(archive):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/shelf/shop.zip", archive.read_bytes())
    memory.pipe_file("/shelf/one.csv", ONE.encode())
    assert ids("memory://shelf/shop.zip") == ["1", "2"]
    assert ids("memory://shelf") == ["1"]
    assert products("memory://shelf/one.csv")[0].images == ["memory:///shelf/a.jpg"]


@pytest.fixture
def web(archive: Path):
    answers = {
        "/shop/one.csv": ("application/octet-stream", ONE.encode()),
        "/feed": ("text/csv; charset=utf-8", ONE.encode()),
        "/one.csv.gz": ("application/gzip", gzip.compress(ONE.encode())),
        "/shop.zip": ("application/zip", archive.read_bytes()),
    }

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self):
            kind, body = answers.get(self.path.partition("?")[0], ("", b""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/shop/one.csv", "/feed?format=google", "/one.csv.gz"])
def test_a_feed_is_read_over_http_and_its_pictures_lie_beside_it(web, path):
    (product,) = products(web + path)
    assert product.id == "1"
    assert product.images == [f"{web}{path.partition('?')[0].rpartition('/')[0]}/a.jpg"]


def test_an_archive_is_read_over_http(web):
    assert ids(f"{web}/shop.zip") == ["1", "2"]


def test_a_feed_never_leads_to_files_of_this_machine(web):
    with catalog_files(f"{web}/shop/one.csv") as (file,):
        assert file.folder / "/etc/passwd" == f"{web}/etc/passwd"
        assert file.folder / "../a.jpg" == f"{web}/a.jpg"
        for url in ("file:///etc/passwd", "zip://a.jpg::/data/b.zip", "LOCAL:///etc/passwd"):
            with pytest.raises(ValueError, match="catalog from elsewhere cannot name"):
                pictures(url, file.folder)


def test_a_feed_of_this_machine_may_name_its_files_by_url(archive):
    with catalog_files(archive) as (file, *_):
        assert pictures("file:///data/a.jpg", file.folder) == ["file:///data/a.jpg"]


def test_copies_are_removed_when_the_catalog_has_been_read(archive):
    with catalog_files(archive) as files:
        copies = [file.path for file in files]
        assert all(copy.is_file() for copy in copies)
    assert not any(copy.exists() for copy in copies)


MISSING = [
    ("gone.csv", "there is no such catalog file; check the path"),
    ("gone/", "there is no such catalog file"),
    ("empty", r"no catalog in it; put files there that end with \.parquet, \.csv"),
    ("broken.csv.gz", "the catalog cannot be fetched .*[Nn]ot a gzipped file"),
    ("broken.zip", "the catalog cannot be fetched .*not a zip file"),
    ("zip://gone.csv::shop.zip", "there is no such catalog file; check the address"),
    ("nosuch://bucket/a.csv", "cannot be fetched .*Protocol not known"),
    ("http://127.0.0.1:1/a.csv", "cannot be fetched .*check the address"),
]


@pytest.mark.parametrize(("location", "message"), MISSING)
def test_what_is_not_there_is_named_with_a_remedy(archive, tmp_path, monkeypatch, location, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("broken.zip", "broken.csv.gz"):
        (tmp_path / name).write_text("no archive")
    with pytest.raises(CatalogError, match=message) as caught:
        products(location)
    assert location.rstrip("/") in str(caught.value)


def test_an_error_names_the_catalog_and_not_its_copy(tmp_path, archive):
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("one.csv", "number,text\n1,x\n")
    with pytest.raises(
        CatalogError, match=rf"^zip://one\.csv::{archive}: there is no column 'id'; it has: number, text"
    ):
        products(archive)


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="the library is installed")
def test_a_missing_library_is_named_with_the_command_that_installs_it():
    with pytest.raises(
        CatalogError, match=r"s3://bucket/a\.csv: a library is missing .*s3fs.*pip install 'moon-search\[remote\]'"
    ):
        products("s3://bucket/a.csv")
