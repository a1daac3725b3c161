"""Pictures on their way to the model: decoded ahead of it, made alike, and lost one by one."""

import io
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from app import picture_files
from app.catalog.products import CatalogRow
from app.schema import Product
from app.settings import Settings
from indexer import pictures
from indexer.pictures import prepare_ahead

RED = (200, 30, 40)


def settings(folder, **changes):
    return Settings(_env_file=None, data=folder / "data", **changes)


def row(number, *images, title="Chair"):
    return CatalogRow(number, Product(id=str(number), title=title, images=list(map(str, images))))


def prepared(folder, *rows, **changes):
    return list(prepare_ahead(rows, None, settings(folder, **changes)))


def near(pixel, expected):
    return max(abs(a - b) for a, b in zip(pixel, expected, strict=True)) <= 40


def test_every_kind_of_picture_reaches_the_model_as_upright_rgb(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), RED).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    Image.new("RGB", (3000, 1500), RED).save(tmp_path / "large.webp")
    names = ("turned.jpg", "clear.png", "print.jpg", "large.webp")
    (item,) = prepared(tmp_path, row(1, *(tmp_path / name for name in names)))
    assert [image.mode for image in item.images] == ["RGB"] * 4
    assert [image.size for image in item.images] == [(20, 40), (20, 20), (20, 20), (1024, 512)]
    assert item.images[1].getpixel((5, 5)) == (255, 255, 255)
    assert near(item.images[2].getpixel((5, 5)), (255, 0, 0))
    assert item.problems == []


def test_a_broken_picture_costs_that_picture_and_the_others_keep_their_order(tmp_path):
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{number}.png")
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    (tmp_path / "heavy.png").write_bytes(b"x" * 20_001)
    names = ("0.png", "bomb.png", "torn.jpg", "gone.jpg", "heavy.png", "1.png")
    limits = {"max_image_bytes": 20_000, "max_image_pixels": 1_000_000}
    (item,) = prepared(tmp_path, row(1, *(tmp_path / name for name in names)), **limits)
    assert [image.getpixel((0, 0)) for image in item.images] == [(255, 0, 0), (0, 0, 255)]
    assert {(problem.severity, problem.field) for problem in item.problems} == {("warning", "images")}
    told = "\n".join(problem.reason for problem in item.problems)
    for name, reason in [("bomb", "megapixels"), ("torn", "not a picture"), ("gone", "No such"), ("heavy", "MB")]:
        assert any(name in line and reason in line for line in told.splitlines())
    assert not item.is_empty


def test_pictures_are_decoded_in_parallel_and_only_so_far_ahead(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    decode, running, most, started = pictures._decode, [0], [0], [0]
    lock = threading.Lock()

    def slow(*arguments):
        with lock:
            started[0] += 1
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        return decode(*arguments)

    monkeypatch.setattr(pictures, "_decode", slow)
    monkeypatch.setattr(pictures, "AHEAD", 16)
    monkeypatch.setattr(pictures.os, "cpu_count", lambda: 4)
    items = prepare_ahead((row(number, tmp_path / "a.png") for number in range(100)), None, settings(tmp_path))
    assert next(items).row.number == 0
    time.sleep(0.3)
    assert most[0] > 1
    assert started[0] <= 16 + 1
    assert [item.row.number for item in items] == list(range(1, 100))


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(picture_files, "WAITS", (0.0, 0.0))
    asked, answers = Counter(), {}

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self):
            asked[self.path] += 1
            busy = self.path == "/busy.png" and asked[self.path] == 1
            self.send_response(503 if busy else 200)
            self.end_headers()
            self.wfile.write(answers.get(self.path, b"<html>sign in</html>"))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    file = io.BytesIO()
    Image.new("RGB", (8, 8), RED).save(file, "PNG")
    answers["/red.png"] = answers["/busy.png"] = file.getvalue()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_remote_pictures_are_kept_between_runs_and_asked_for_again_after_a_failure(tmp_path, web):
    url, asked = web
    for _ in range(2):
        (item,) = prepared(tmp_path, row(1, f"{url}/red.png", f"{url}/busy.png"))
        assert [image.getpixel((0, 0)) for image in item.images] == [RED, RED]
    assert asked == {"/red.png": 1, "/busy.png": 2}


def test_a_page_in_place_of_a_picture_is_not_kept(tmp_path, web):
    url, asked = web
    for _ in range(2):
        (item,) = prepared(tmp_path, row(1, f"{url}/page.png"))
        assert "not a picture" in item.problems[0].reason
    assert asked == {"/page.png": 2}


def test_a_product_of_nothing_but_broken_pictures_has_nothing_to_show(tmp_path):
    (item,) = prepared(tmp_path, row(1, tmp_path / "gone.png", title=""))
    assert item.is_empty
    assert (item.reject.severity, item.reject.id, item.reject.row) == ("reject", "1", 1)
