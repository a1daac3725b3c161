from __future__ import annotations

import threading

import numpy as np
import pytest
from colour_model import ColourModel

from app.errors import ModelError
from trainer.evaluation.embed import embed_views
from trainer.evaluation.models.base import Content

TITLES = ("red", "green", "", "blue", "red chair")


def read(row: int) -> dict[str, Content]:
    if not TITLES[row]:
        return {}
    views = {"text": Content(title=TITLES[row])}
    return views | ({"both": Content(title=TITLES[row])} if row % 2 else {})


def embed(model, folder, rows=range(5), batch_size=2, **more):
    return embed_views(model, rows, read, ("text", "both"), folder, is_query=True, batch_size=batch_size, **more)


def test_every_view_is_embedded_once_in_its_row(tmp_path):
    model = ColourModel()
    found = embed(model, tmp_path)
    assert found["text"].known.tolist() == [True, True, False, True, True]
    assert found["both"].known.tolist() == [False, True, False, True, False]
    expected = model.embed([Content(title=title) for title in TITLES if title], is_query=True)
    assert found["text"].vectors[found["text"].known] == pytest.approx(expected)
    assert len(model.seen) == 4 + 2 + 4


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_vectors_do_not_depend_on_the_batch_size(tmp_path, batch_size):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = embed(ColourModel(), tmp_path / "a", batch_size=batch_size)["text"].vectors
    assert np.array_equal(first, embed(ColourModel(), tmp_path / "b")["text"].vectors)


def test_no_rows_give_no_vectors(tmp_path):
    assert embed(ColourModel(), tmp_path, rows=[])["text"].vectors.shape == (0, ColourModel().dimensions)


def test_vectors_lie_in_files(tmp_path):
    found = embed(ColourModel(), tmp_path)
    assert isinstance(found["text"].vectors, np.memmap)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["queries-both.npy", "queries-text.npy"]


def test_the_next_batch_is_read_while_one_is_embedded(tmp_path):
    second_batch_read = threading.Event()

    def reading(row: int) -> dict[str, Content]:
        if row >= 2:
            second_batch_read.set()
        return read(row)

    class Waiting(ColourModel):
        def embed(self, contents, *, is_query):
            assert second_batch_read.wait(timeout=10)
            return super().embed(contents, is_query=is_query)

    embed_views(Waiting(), range(5), reading, ("text",), tmp_path, is_query=False, batch_size=2)


def test_a_model_that_gives_no_numbers_is_named(tmp_path):
    class Broken(ColourModel):
        def embed(self, contents, *, is_query):
            return np.full((len(contents), self.dimensions), np.nan, dtype=np.float32)

    with pytest.raises(ModelError, match="shaky gave vectors that are not numbers for queries from 0 on"):
        embed(Broken("shaky"), tmp_path)


def test_progress_names_model_and_kind(tmp_path):
    titles = []
    embed(ColourModel(), tmp_path, track=lambda starts, title: titles.append((len(starts), title)) or starts)
    assert titles == [(3, "colour words: queries")]
