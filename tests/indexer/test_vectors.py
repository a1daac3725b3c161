import numpy as np
import pytest

from app.errors import ModelError
from indexer import vectors as archive_module
from indexer.vectors import VectorArchive, check_vectors, unusable


def unit(rows, width=8, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(folder, parts=2, rows=3):
    archive = VectorArchive(folder)
    for part in range(parts):
        contents = [f"{part}-{row}" for row in range(rows)]
        archive.append(contents, unit(rows, seed=part), [{"picture": "torn"}] + [{}] * (rows - 1))
    return archive


def stored(archive):
    return {key: vector for contents, rows in archive.batches() for key, vector in zip(contents, rows, strict=True)}


def test_vectors_come_back_exactly(tmp_path):
    filled(tmp_path)
    archive = VectorArchive(tmp_path)
    assert (len(archive), archive.dimensions) == (6, 8)
    assert np.array_equal(stored(archive)["1-2"], unit(3, seed=1)[2])
    assert archive.broken("1-0") == {"picture": "torn"}
    assert archive.broken("1-1") == {}
    assert "1-9" not in archive


def test_an_empty_folder_knows_nothing(tmp_path):
    archive = VectorArchive(tmp_path / "new")
    assert (len(archive), archive.dimensions, list(archive.batches())) == (0, 0, [])


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_part_is_set_aside_and_only_its_vectors_are_unknown(tmp_path, keep, caplog):
    filled(tmp_path)
    part = sorted(tmp_path.glob("part-*.parquet"))[0]
    data = part.read_bytes()
    part.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    archive = VectorArchive(tmp_path)
    assert sorted(stored(archive)) == ["1-0", "1-1", "1-2"]
    assert archive.damaged == [part.with_suffix(".damaged")]
    assert archive.damaged[0].exists()
    assert part.name in caplog.text


def test_a_part_with_other_dimensions_is_set_aside(tmp_path):
    filled(tmp_path, parts=1)
    odd = VectorArchive(tmp_path / "odd")
    odd.append(["x"], unit(1, width=4), [{}])
    part = next((tmp_path / "odd").glob("*.parquet"))
    part.rename(tmp_path / "part-9.parquet")
    archive = VectorArchive(tmp_path)
    assert [file.name for file in archive.damaged] == ["part-9.damaged"]
    assert archive.dimensions == 8


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / "part-1.parquet.tmp").write_bytes(b"half")
    archive = VectorArchive(tmp_path)
    archive.remove_leftovers()
    assert len(archive) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_others_wrote_meanwhile_is_known_after_a_refresh(tmp_path):
    archive = VectorArchive(tmp_path)
    other = filled(tmp_path)
    assert len(archive) == 0
    archive.refresh()
    assert len(archive) == len(other) > 0


def test_many_small_parts_become_few_with_the_same_vectors(tmp_path):
    archive = filled(tmp_path, parts=archive_module.MERGE_ABOVE_PARTS + 1)
    before = stored(archive)
    archive.merge_parts()
    after = stored(VectorArchive(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_merging_stops_at_the_row_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "MERGED_ROWS", 30)
    archive = filled(tmp_path, parts=20)
    archive.merge_parts()
    assert len(list(tmp_path.iterdir())) == 2
    assert len(VectorArchive(tmp_path)) == 60


def test_few_parts_are_left_alone(tmp_path):
    archive = filled(tmp_path)
    before = sorted(tmp_path.iterdir())
    archive.merge_parts()
    assert sorted(tmp_path.iterdir()) == before


def test_vectors_without_direction_are_found():
    vectors = np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 0], [3, 4], [0.6, 0.8]], dtype=np.float32)
    assert unusable(vectors).tolist() == [False, True, True, True, True, False]


def test_a_model_that_returns_another_shape_is_at_fault():
    with pytest.raises(ModelError, match=r"shape \(2, 8\) instead of \(3, 8\)"):
        check_vectors(unit(2), 3, 8)
