import os

import pytest
from PIL import Image

from app.images import read_bytes
from indexer import picture_hashes, pictures


@pytest.fixture
def reads(monkeypatch):
    """Names of the picture files that are read; files count as settled at once."""
    seen = []

    def reading(location, *, max_bytes):
        seen.append(location.rsplit("/", 1)[-1])
        return read_bytes(location, max_bytes=max_bytes)

    monkeypatch.setattr("app.picture_files.read_bytes", reading)
    monkeypatch.setattr(picture_hashes, "SETTLED_SECONDS", 0.0)
    return seen


def test_pictures_that_did_not_change_are_not_read_again(shop, reads):
    shop.rebuild()
    assert len(reads) == 10
    reads.clear()
    Image.new("RGB", (8, 8), "yellow").save(shop.folder / "images/3.png")
    outcome = shop.rebuild()
    assert (reads, outcome.embedded) == (["3.png"], 1)
    reads.clear()
    assert not shop.rebuild().changed
    assert reads == []


def test_another_text_reads_the_pictures_of_that_product_alone(shop, reads):
    shop.rebuild()
    reads.clear()
    shop.rows[5]["title"] = "throne"
    assert shop.rebuild().embedded == 1
    assert reads == ["5.png"]


def test_another_picture_with_the_size_and_time_of_the_first_is_seen(shop, reads):
    picture = shop.folder / "images/3.png"
    shop.rebuild()
    before = picture.stat()
    data = bytearray(picture.read_bytes())
    data[-1] ^= 1
    picture.write_bytes(data)
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert picture.stat().st_mtime_ns == before.st_mtime_ns
    reads.clear()
    assert shop.rebuild().embedded == 1
    assert reads == ["3.png"]


def test_a_file_that_was_just_written_is_read_again(shop, reads, monkeypatch):
    monkeypatch.setattr(picture_hashes, "SETTLED_SECONDS", 3600.0)
    shop.rebuild()
    reads.clear()
    shop.rebuild()
    assert len(reads) == 10


def test_a_damaged_memory_costs_a_reading_and_is_begun_anew(shop, reads, caplog):
    shop.rebuild()
    memory = shop.settings.data / "picture-hashes.sqlite"
    memory.write_bytes(b"no database" * 1000)
    reads.clear()
    assert not shop.rebuild().changed
    assert len(reads) == 10
    assert "not remembered in this run" in caplog.text
    shop.rebuild()
    reads.clear()
    shop.rebuild()
    assert reads == []


def test_only_so_many_files_are_remembered_the_first_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_hashes, "MAX_FILES", 2)
    monkeypatch.setattr(picture_hashes, "WRITE_AT_ONCE", 1)
    stamp = pictures.Stamp(1, 2, 3)
    with picture_hashes.PictureHashes(tmp_path / "hashes") as hashes:
        for name in "abca":
            hashes.put(name, stamp, f"hash of {name}")
        assert [hashes.get(name, stamp) for name in "abc"] == ["hash of a", None, "hash of c"]
        assert hashes.get("a", stamp._replace(size=9)) is None
