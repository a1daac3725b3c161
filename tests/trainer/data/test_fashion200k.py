from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from app.errors import CatalogError
from trainer.data.corpus import Corpus
from trainer.data.open import open_corpus, read_problems
from trainer.evaluation.benchmark import prepare

DRESS = "women/dresses/casual_and_day_dresses"
TRAIN = f"{DRESS}/1/1_0.jpeg\t0.91\tred cotton dress\n{DRESS}/1/1_1.jpeg\t0.88\tred cotton dress\n"
TEST = (
    f"{DRESS}/2/2_0.jpeg\t0.9\tblue silk dress\n"
    f"{DRESS}/2/2_1.jpeg\t0.8\tblue silk dress\n"
    f"{DRESS}/2/2_2.jpeg\t0.7\tblue silk dress\n"
    f"{DRESS}/3/3_0.jpeg\t0.9\tBlue silk dress\n"
)
SKIRTS = "women/skirts/mini_skirts/4/4_0.jpeg\t0.9\tblack leather skirt\n"


def fashion(folder: Path, **labels: str) -> Corpus:
    (folder / "labels").mkdir()
    for name, lines in labels.items():
        (folder / "labels" / f"{name}_detect_all.txt").write_text(lines)
    return open_corpus(folder, cache=folder / "cache")


def test_captions_and_first_pictures_ask_for_products(tmp_path):
    corpus = fashion(tmp_path, dress_train=TRAIN, dress_test=TEST, skirt_test=SKIRTS)
    assert (corpus.info["format"], corpus.items, corpus.records) == ("fashion200k", 4, 6)
    text, photo = corpus.record(2), corpus.record(3)
    assert (text.text, text.picture, text.modalities, text.split) == ("blue silk dress", None, ("text",), "test")
    assert Path(photo.picture.location).name == "2_0.jpeg"
    assert photo.modalities == ("image", "both")
    item = corpus.item(photo.positive)
    assert (item.id, item.title, item.category) == ("2", "blue silk dress", ("dresses", "casual and day dresses"))
    assert [Path(picture.location).name for picture in item.pictures] == ["2_1.jpeg", "2_2.jpeg"]


def test_a_product_with_one_picture_keeps_it_and_is_asked_by_its_caption(tmp_path):
    corpus = fashion(tmp_path, skirt_test=SKIRTS)
    assert corpus.records == 1
    assert [Path(picture.location).name for picture in corpus.item(0).pictures] == ["4_0.jpeg"]


def test_test_products_are_the_gallery_and_a_shared_caption_is_right(tmp_path):
    benchmark = prepare(fashion(tmp_path, dress_train=TRAIN, dress_test=TEST, skirt_test=SKIRTS))
    gallery = [benchmark.corpus.item(row).id for row in benchmark.gallery]
    assert gallery == ["2", "3", "4"]
    everywhere = benchmark.gallery >= 0
    right = benchmark.strict.counts(everywhere)
    asked = [benchmark.corpus.record(row).modalities for row in benchmark.queries[:2]]
    assert (asked, right[:2].tolist()) == ([("text",), ("image", "both")], [2, 1])


def test_a_picture_that_is_not_there_has_its_address(tmp_path):
    (tmp_path / "image_urls.txt").write_text(f"{DRESS}/2/2_1.jpeg\thttps://img.example.com/2_1.jpeg\n")
    (tmp_path / DRESS / "2").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / DRESS / "2" / "2_0.jpeg")
    corpus = fashion(tmp_path, dress_test=TEST)
    photo = corpus.record(1)
    assert photo.picture.location == str(tmp_path / DRESS / "2" / "2_0.jpeg")
    locations = [picture.location for picture in corpus.item(photo.positive).pictures]
    assert locations == ["https://img.example.com/2_1.jpeg", str(tmp_path / DRESS / "2" / "2_2.jpeg")]


def test_broken_lines_cost_themselves(tmp_path):
    corpus = fashion(tmp_path, dress_test=f"{TEST}\nno tabs here\n{DRESS}/5/5_0.jpeg\t0.9\t\n1_0.jpeg\t1\tdress\n")
    assert corpus.items == 2
    assert [(p.severity, p.row) for p in read_problems(corpus).problems] == [("reject", row) for row in (6, 7, 8)]


def test_a_folder_without_labels_is_refused_by_name(tmp_path):
    with pytest.raises(CatalogError, match="not Fashion200K, a folder with labels/"):
        open_corpus(tmp_path, cache=tmp_path / "cache", format="fashion200k")
