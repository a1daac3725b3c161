import doctest
import os
import time
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from app import images, picture_files
from app.errors import BadInputError
from app.picture_files import PictureFiles


class Web:
    """Answers with the path, or misbehaves as it says."""

    def __init__(self):
        self.asked = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked[self.path] += 1
                busy = self.path.startswith("/busy") and (outer.asked[self.path] < 3 or "always" in self.path)
                self.send_response(503 if busy else 404 if self.path == "/missing" else 200)
                self.end_headers()
                for _ in range(50 if self.path == "/drips" else 1):
                    self.wfile.write(self.path.encode())
                    time.sleep(0.02 if self.path == "/drips" else 0)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *args: None  # clients that gave up
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(picture_files, "WAITS", (0.0, 0.0))
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()


@pytest.fixture
def files(tmp_path):
    return PictureFiles(tmp_path / "kept", max_bytes=1000, cache_bytes=100_000, keep_seconds=3600)


def test_the_examples_in_the_documentation_hold():
    assert doctest.testmod(picture_files).failed == 0


def test_a_local_file_is_read_and_not_kept(files, tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    assert files.read(str(tmp_path / "a.png"), bytes) == b"a"
    assert not (tmp_path / "kept").exists()


def test_a_remote_file_is_fetched_once_until_it_is_too_old(files, web, tmp_path):
    for _ in range(2):
        assert files.read(f"{web.url}/a", bytes) == b"/a"
    assert web.asked["/a"] == 1
    (kept,) = (file for file in (tmp_path / "kept").rglob("*") if file.is_file() and file.name != "lock")
    os.utime(kept, (time.time() - 4000, time.time() - 4000))
    assert files.read(f"{web.url}/a", bytes) == b"/a"
    assert web.asked["/a"] == 2


def test_what_is_forgotten_is_fetched_again(files, web):
    files.read(f"{web.url}/a", bytes)
    files.forget(f"{web.url}/a")
    files.read(f"{web.url}/a", bytes)
    assert web.asked["/a"] == 2


def test_what_is_not_accepted_is_not_kept(files, web):
    def refuse(data):
        raise BadInputError("no picture")

    for _ in range(2):
        with pytest.raises(BadInputError, match="no picture"):
            files.read(f"{web.url}/a", refuse)
    assert web.asked["/a"] == 2


def test_a_file_beyond_the_limit_is_not_kept(tmp_path, web):
    files = PictureFiles(tmp_path / "kept", max_bytes=1, cache_bytes=100_000)
    assert [len(files.read(f"{web.url}/long", bytes)) for _ in range(2)] == [2, 2]
    assert web.asked["/long"] == 2


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(files, web):
    assert files.read(f"{web.url}/busy", bytes) == b"/busy"
    with pytest.raises(BadInputError, match="404"):
        files.read(f"{web.url}/missing", bytes)
    assert (web.asked["/busy"], web.asked["/missing"]) == (3, 1)


def test_a_server_that_fails_every_time_gets_no_more_patience_until_it_answers(files, web):
    for number in range(picture_files.GIVEN_UP + 1):
        with pytest.raises(BadInputError, match="503"):
            files.read(f"{web.url}/busy-always-{number}", bytes)
    assert web.asked["/busy-always-0"] == 3
    assert web.asked[f"/busy-always-{picture_files.GIVEN_UP}"] == 1
    files.read(f"{web.url}/a", bytes)
    with pytest.raises(BadInputError, match="503"):
        files.read(f"{web.url}/busy-always-again", bytes)
    assert web.asked["/busy-always-again"] == 3


def test_a_file_that_drips_is_given_up(files, web, monkeypatch):
    monkeypatch.setattr(images, "WHOLE_FETCH_SECONDS", 0.1)
    with pytest.raises(BadInputError, match=r"/drips: .*not complete after 0\.1 seconds"):
        files.read(f"{web.url}/drips", bytes)


def test_a_stamp_changes_with_the_file_and_is_that_of_the_kept_copy_of_a_remote_one(files, tmp_path, web):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"one")
    first = files.stamp(str(picture))
    picture.write_bytes(b"another")
    assert first.size == 3 != files.stamp(str(picture)).size
    assert files.stamp(f"{web.url}/a") is None
    files.read(f"{web.url}/a", bytes)
    assert files.stamp(f"{web.url}/a").size == len("/a")
    assert files.stamp(str(tmp_path / "gone.png")) is None
    assert files.stamp(f"zip://a.png::{tmp_path}/shop.zip") is None


def test_what_this_machine_has_is_read_without_fetching(files, web, tmp_path):
    (tmp_path / "a.png").write_bytes(b"a" * 2000)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("b.png", b"b")
    files.read(f"{web.url}/kept", bytes)
    os.utime(files._disk.path(f"{web.url}/kept"), (0, 0))
    for location, content in (
        (str(tmp_path / "a.png"), b"a" * 1001),
        (f"file://{tmp_path}/a.png", b"a" * 1001),
        (f"zip://b.png::{tmp_path}/b.zip", b"b"),
        (f"{web.url}/kept", b"/kept"),
    ):
        assert files.here(location) == content
    assert web.asked == {"/kept": 1}


def test_what_this_machine_has_not_is_not_fetched(files, web, tmp_path):
    for location in (
        f"{web.url}/elsewhere",
        f"{web.url}/elsewhere::{tmp_path}",
        f"zip://a.png::{web.url}/a.zip",
        f"zip://a.png::{web.url}/a.zip::{tmp_path}",
        str(tmp_path / "gone.png"),
        str(tmp_path),
        f"zip://a.png::{tmp_path}/gone.zip",
    ):
        assert files.here(location) is None
    assert web.asked == {}
