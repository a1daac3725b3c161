from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import tarfile
import threading
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from app import archives, images, picture_files
from app.disk_cache import DiskCache
from app.errors import BadInputError
from app.picture_files import is_local
from app.settings import Settings
from trainer.data.ahead import run_ahead
from trainer.data.pictures import PictureStore, original_box, shown_box
from trainer.data.views import View

FORK = multiprocessing.get_context("fork")


def png(size: tuple[int, int] = (8, 6), colour: str | tuple = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


class Server:
    """Answers with a picture, or misbehaves as the path says."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.asked[self.path] += 1
                status, body = outer.answer(self.path)
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *arguments: None  # clients that gave up
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, path: str) -> tuple[int, bytes]:
        times = self.asked[path]
        if path == "/hangs":
            self.released.wait(10)
        if path == "/drops" and times < 3:
            return 0, b""
        if path == "/busy-twice" and times < 3:
            return (429, 503)[times - 1], b"later"
        if path == "/always-busy":
            return 503, b"later"
        if path == "/missing":
            return 404, b"no"
        return 200, b"<html>sign in</html>" if path == "/garbage" else png()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(picture_files, "WAITS", (0.0, 0.0, 0.0))
    server = Server()
    yield server
    server.close()


@pytest.fixture
def quick_timeouts(monkeypatch):
    monkeypatch.setattr(images, "FETCH_SECONDS", 0.2)
    images._client.cache_clear()
    yield
    images._client.cache_clear()


@pytest.fixture
def store(tmp_path) -> PictureStore:
    return PictureStore(tmp_path / "cache", Settings())


def files_below(folder) -> list:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


def test_a_local_picture_is_read_upright_as_rgb(store, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    image = store.read(str(tmp_path / "a.jpg"))
    assert (image.mode, image.size) == ("RGB", (4, 8))


def test_a_large_picture_is_reduced_and_boxes_follow(store, tmp_path):
    Image.new("RGB", (4096, 2048)).save(tmp_path / "a.png")
    image = store.read(str(tmp_path / "a.png"))
    assert image.size == (1024, 512)
    assert shown_box((400, 200, 4096, 2048), image) == (100, 50, 1024, 512)
    assert original_box((100, 50, 1024, 512), image) == (400, 200, 4096, 2048)


def test_a_view_cuts_a_reduced_picture_where_its_box_is(store, tmp_path):
    large = Image.new("RGB", (2048, 2048), "white")
    large.paste("blue", (1000, 1000, 1800, 1600))
    large.save(tmp_path / "a.png")
    box = (1000.0, 1000.0, 1800.0, 1600.0)
    cut = View(str(tmp_path / "a.png"), box, "core").show(store.read)
    assert cut.size == (440, 330)
    assert cut.getpixel((220, 165)) == (0, 0, 255)
    assert cut.getpixel((2, 2)) == (255, 255, 255)


def test_a_picture_beyond_the_limits_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png((100, 100)))
    for limit in ({"max_image_bytes": 50}, {"max_image_pixels": 9_999}):
        store = PictureStore(tmp_path / "cache", Settings(**limit))
        with pytest.raises(BadInputError, match=r"a\.png.*limit"):
            store.read(str(tmp_path / "a.png"))


def test_a_remote_picture_is_fetched_once(store, server, tmp_path):
    assert store.read(f"{server.url}/ok").size == (8, 6)
    assert store.read(f"{server.url}/ok").size == (8, 6)
    assert PictureStore(tmp_path / "cache", Settings()).read(f"{server.url}/ok").size == (8, 6)
    assert server.asked["/ok"] == 1


@pytest.mark.parametrize("path", ["/busy-twice", "/drops"])
def test_a_busy_server_is_asked_again(store, server, path):
    assert store.read(f"{server.url}{path}").size == (8, 6)
    assert server.asked[path] == 3


def test_a_missing_picture_is_asked_for_once_in_a_run(store, server):
    for _ in range(3):
        with pytest.raises(BadInputError, match=f"{server.url}/missing: .*404"):
            store.read(f"{server.url}/missing")
    assert server.asked["/missing"] == 1


def test_a_server_that_stays_busy_is_given_up_for_the_run(store, server):
    for _ in range(2):
        with pytest.raises(BadInputError, match="503"):
            store.read(f"{server.url}/always-busy")
    assert server.asked["/always-busy"] == 1 + len(picture_files.WAITS)


def test_a_server_that_hangs_is_given_up(store, server, quick_timeouts):
    start = time.monotonic()
    with pytest.raises(BadInputError, match="/hangs"):
        store.read(f"{server.url}/hangs")
    assert time.monotonic() - start < 5
    assert server.asked["/hangs"] == 1 + len(picture_files.WAITS)


def test_a_server_that_nobody_runs_names_the_location(store, server):
    server.close()
    with pytest.raises(BadInputError, match=f"{server.url}/ok: the picture cannot be read"):
        store.read(f"{server.url}/ok")


def test_what_is_no_picture_is_not_kept(store, server, tmp_path):
    for _ in range(2):
        with pytest.raises(BadInputError, match="/garbage: not a picture"):
            store.read(f"{server.url}/garbage")
    assert server.asked["/garbage"] == 1
    assert not files_below(tmp_path / "cache")


def test_a_file_damaged_in_the_cache_is_fetched_again(store, server, tmp_path):
    store.read(f"{server.url}/ok")
    (kept,) = files_below(tmp_path / "cache")
    kept.write_bytes(b"broken")
    assert store.read(f"{server.url}/ok").size == (8, 6)
    assert kept.read_bytes() == png()
    assert server.asked["/ok"] == 2


def make_archives(folder, count: int = 20) -> list[str]:
    """A zip and a tar of ``count`` pictures each, whose red channel is their number; their members' locations."""
    members = [(f"a/{number}.png", png(colour=(number, 0, 0))) for number in range(count)]
    with zipfile.ZipFile(folder / "x.zip", "w") as packed, tarfile.open(folder / "x.tar", "w") as tar:
        for name, data in members:
            packed.writestr(name, data)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return [f"{kind}://{name}::{folder}/x.{kind}" for kind in ("zip", "tar") for name, _ in members]


def numbers(store: PictureStore, locations: list[str]) -> list[int]:
    return [store.read(location).getpixel((0, 0))[0] for location in locations]


def test_members_of_archives_are_read_and_the_archive_is_opened_once(store, tmp_path, monkeypatch):
    locations, opened = make_archives(tmp_path), []
    original = archives.fsspec.filesystem
    monkeypatch.setattr(archives.fsspec, "filesystem", lambda *a, **k: opened.append(a) or original(*a, **k))
    assert numbers(store, locations) == [*range(20), *range(20)]
    assert opened == [("zip",), ("tar",)]


def test_only_the_archives_used_last_stay_open(store, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "OPEN_ARCHIVES", 2)
    for name in "abcd":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as packed:
            packed.writestr("a.png", png())
        store.read(f"zip://a.png::{tmp_path}/{name}.zip")
    held = store._files._archives[os.getpid()]._open
    assert [archive[-5:] for _, archive in held] == ["c.zip", "d.zip"]


def test_threads_read_one_archive_at_the_same_time(store, tmp_path):
    locations = make_archives(tmp_path) * 5
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda location: numbers(store, [location])[0], locations))
    assert read == [*range(20), *range(20)] * 5


def read_in_child(store, locations, queue) -> None:
    queue.put(numbers(store, locations))


def test_forked_processes_read_an_archive_that_the_parent_has_open(store, tmp_path):
    locations = make_archives(tmp_path)
    numbers(store, locations[:3] + locations[20:23])
    queue = FORK.Queue()
    children = [FORK.Process(target=read_in_child, args=(store, locations * 3, queue)) for _ in range(2)]
    for child in children:
        child.start()
    own = numbers(store, locations * 3)
    assert [own, queue.get(timeout=20), queue.get(timeout=20)] == [[*range(20), *range(20)] * 3] * 3
    for child in children:
        child.join()


def read_remote_in_child(store, urls, queue) -> None:
    queue.put([store.read(url).size for url in urls])


def test_two_processes_share_one_cache(store, server, tmp_path):
    urls = [f"{server.url}/{number}" for number in range(30)]
    store.read(urls[0])
    queue = FORK.Queue()
    children = [FORK.Process(target=read_remote_in_child, args=(store, urls, queue)) for _ in range(2)]
    for child in children:
        child.start()
    assert [queue.get(timeout=20), queue.get(timeout=20)] == [[(8, 6)] * 30] * 2
    for child in children:
        child.join()
    kept = files_below(tmp_path / "cache")
    assert len(kept) == 30
    assert {file.read_bytes() for file in kept} == {png()}
    before = sum(server.asked.values())
    assert [store.read(url).size for url in urls] == [(8, 6)] * 30
    assert sum(server.asked.values()) == before


def test_a_copy_for_another_process_reads_the_same(store, tmp_path):
    (location, *_) = make_archives(tmp_path)
    store.read(location)
    assert pickle.loads(pickle.dumps(store)).read(location).size == (8, 6)  # noqa: S301


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_broken_archives_and_absent_members_name_the_location(store, tmp_path, kind):
    make_archives(tmp_path)
    (tmp_path / f"bad.{kind}").write_bytes(b"no archive")
    cases = {
        f"{kind}://none.png::{tmp_path}/x.{kind}": "not in the archive",
        f"{kind}://a.png::{tmp_path}/bad.{kind}": "",
        f"{kind}://a.png::{tmp_path}/none.{kind}": "No such file",
    }
    for location, reason in cases.items():
        with pytest.raises(BadInputError, match=rf"{location}: the picture cannot be read \(.*{reason}.*\)"):
            store.read(location)


def test_a_member_that_unpacks_beyond_the_limit_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.png", png() + b"\0" * 1_000_000)
    with pytest.raises(BadInputError, match="larger than the limit"):
        PictureStore(tmp_path / "cache", Settings(max_image_bytes=1000)).read(f"zip://a.png::{tmp_path}/x.zip")


def test_members_of_remote_archives_are_kept_and_local_ones_are_not(store, tmp_path):
    import fsspec

    locations = make_archives(tmp_path, 1)
    store.read(locations[0])
    assert not files_below(tmp_path / "cache")
    fsspec.filesystem("memory").pipe_file("/shelf/x.zip", (tmp_path / "x.zip").read_bytes())
    remote = "zip://a/0.png::memory://shelf/x.zip"
    assert not is_local(remote)
    assert store.read(remote).size == (8, 6)
    assert len(files_below(tmp_path / "cache")) == 1


def test_the_cache_stays_within_its_limit_and_drops_the_oldest(tmp_path):
    cache = DiskCache(tmp_path, 1000)
    for number in range(30):
        cache.put(str(number), bytes(100))
        os.utime(cache.path(str(number)), ns=(number, number))
    assert sum(file.stat().st_size for file in files_below(tmp_path)) <= 1000
    kept = [number for number in range(30) if cache.get(str(number)) is not None]
    assert kept == list(range(kept[0], 30))


def test_a_disk_that_is_full_costs_nothing_but_the_cache(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = DiskCache(tmp_path / "file", 1000)
    cache.put("a", b"data")
    assert cache.get("a") is None
    assert "a: not kept in the cache" in caplog.text


def test_run_ahead_keeps_the_order_and_stays_close():
    started, seen = [], []
    for result in run_ahead(lambda n: started.append(n) or 2 * n, range(50), 4):
        seen.append(result)
        assert max(started) <= len(seen) + 4
    assert seen == list(range(0, 100, 2))
