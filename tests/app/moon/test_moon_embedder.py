"""The embedder over a tiny checkpoint, fingerprints, and quick imports."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL.Image import Image
from safetensors.torch import load_file, save_file
from tiny_models import picture, stir, upcycle

from app.encoder import Embedder
from app.errors import BadInputError, ModelError
from app.moon import load_encoder, model_fingerprint, model_name
from app.moon.detect import LearnedDetector, NoDetector, SaliencyDetector
from app.moon.embedder import MAX_PICTURES, MoonEmbedder
from app.moon.load import save_moon
from app.schema import Box, Product, Query
from app.settings import Settings, read_settings

CHAIR = Product(id="1", title="red chair", category=["Furniture", "Chairs"], attributes={"color": ["red"]})


class OneBox:
    """Answers the same box for every picture and remembers what it was asked."""

    def __init__(self, box: Box | None) -> None:
        self.box = box
        self.asked: list[tuple[tuple[int, int], str]] = []

    def detect(self, images: Sequence[Image], titles: Sequence[str]) -> list[Box | None]:
        self.asked += [(image.size, title) for image, title in zip(images, titles, strict=True)]
        return [self.box] * len(images)


@pytest.fixture(scope="module")
def checkpoint(base_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-moon")
    save_moon(stir(upcycle(base_of("fastvlm"), expert_rank=4, skip=True, box_head=True)), folder)
    return folder


def settings_for(checkpoint: Path, **values) -> Settings:
    return Settings(_env_file=None, model=str(checkpoint), device="cpu", **values)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> MoonEmbedder:
    return load_encoder(settings_for(checkpoint, batch_size=4))


def with_detector(embedder: MoonEmbedder, detector: OneBox) -> MoonEmbedder:
    return MoonEmbedder(embedder._model[0], detector, "tiny", "f", 4)


def test_is_an_embedder_of_unit_vectors(embedder: MoonEmbedder, checkpoint: Path):
    protocol: Embedder = embedder
    vectors = [
        protocol.embed_products([CHAIR, Product(id="2")], [[picture(1), picture(2)], []]),
        protocol.embed_queries([Query("red chair"), Query("", picture(1)), Query("red", picture(1))])[0],
        protocol.embed_labels(["Furniture > Chairs"], "category"),
    ]
    for rows in vectors:
        assert rows.dtype == np.float32
        assert rows.shape[1] == protocol.dimensions == 32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    assert protocol.name == checkpoint.name
    assert protocol.fingerprint == model_fingerprint(str(checkpoint), settings_for(checkpoint))


def test_nothing_in_nothing_out(embedder: MoonEmbedder):
    assert embedder.embed_products([], []).shape == (0, 32)
    assert embedder.embed_queries([])[0].shape == (0, 32)
    assert embedder.embed_labels([], "category").shape == (0, 32)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_query_is_refused(embedder: MoonEmbedder, text: str):
    with pytest.raises(BadInputError, match="empty"):
        embedder.embed_queries([Query("chair"), Query(text)])


def test_the_querys_own_box_is_used_and_the_detector_not_asked(embedder: MoonEmbedder):
    detector = OneBox((0.0, 0.0, 40.0, 30.0))
    mine = with_detector(embedder, detector)
    photo = picture(1)
    own, boxes = mine.embed_queries([Query("", photo, (20, 20, 60, 50))])
    assert boxes == [pytest.approx((18, 18.5, 62, 51.5))]
    assert detector.asked == []
    found, boxes = mine.embed_queries([Query("", photo)])
    assert boxes == [detector.box]
    assert not np.allclose(own, found, atol=1e-4)


def test_the_detector_is_asked_with_the_words_of_the_query(embedder: MoonEmbedder):
    detector = OneBox(None)
    _, boxes = with_detector(embedder, detector).embed_queries(
        [Query("sofa"), Query("red chair", picture(1, (50, 40)))]
    )
    assert detector.asked == [((50, 40), "red chair")]
    assert boxes == [None, None]


def test_products_on_plain_ground_are_not_cropped(embedder: MoonEmbedder):
    packshot = picture(1, (90, 90))
    packshot.paste((255, 255, 255), (0, 0, 90, 20))
    for side in ((0, 0, 20, 90), (70, 0, 90, 90), (0, 70, 90, 90)):
        packshot.paste((255, 255, 255), side)
    detector = OneBox((0.0, 0.0, 40.0, 40.0))
    with_detector(embedder, detector).embed_products([CHAIR], [[packshot, picture(2, (64, 48))]])
    assert detector.asked == [((64, 48), "red chair")]


def test_a_crop_changes_the_products_vector(embedder: MoonEmbedder):
    cropped = with_detector(embedder, OneBox((0.0, 0.0, 20.0, 20.0))).embed_products([CHAIR], [[picture(1)]])
    whole = with_detector(embedder, OneBox(None)).embed_products([CHAIR], [[picture(1)]])
    assert not np.allclose(cropped, whole, atol=1e-4)


def test_pictures_beyond_the_limit_are_not_read(embedder: MoonEmbedder):
    many = [picture(n) for n in range(MAX_PICTURES + 2)]
    few = with_detector(embedder, OneBox(None))
    np.testing.assert_array_equal(
        few.embed_products([CHAIR], [many]), few.embed_products([CHAIR], [many[:MAX_PICTURES]])
    )


def test_a_label_reads_as_it_stands_in_a_product(embedder: MoonEmbedder):
    label = embedder.embed_labels(["Furniture > Chairs"], "category")
    product = embedder.embed_products([Product(id="3", category=["Furniture", "Chairs"])], [[]])
    other = embedder.embed_labels(["Furniture > Chairs"], "attribute")
    np.testing.assert_allclose(label, product, atol=1e-6)
    assert not np.allclose(label, other, atol=1e-4)


def test_calls_from_several_threads_give_what_one_thread_gives(embedder: MoonEmbedder):
    words = [f"{colour} {thing}" for colour in ("red", "green") for thing in ("chair", "sofa", "lamp")]
    expected = [embedder.embed_queries([Query(w)])[0] for w in words]
    expected += [embedder.embed_labels([w], "attribute") for w in words]
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        word = words[number % len(words)]
        found[number] = (
            embedder.embed_queries([Query(word)])[0]
            if number < len(words)
            else embedder.embed_labels([word], "attribute")
        )

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2 * len(words))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, rows in enumerate(expected):
        np.testing.assert_allclose(found[number], rows, atol=1e-6)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("auto", LearnedDetector), ("learned", LearnedDetector), ("saliency", SaliencyDetector), ("none", NoDetector)],
)
def test_the_setting_chooses_the_detector(checkpoint: Path, choice: str, expected: type):
    assert isinstance(load_encoder(settings_for(checkpoint, detector=choice))._detector, expected)


def test_the_setting_chooses_how_many_visual_tokens_pass_the_llm(checkpoint: Path, embedder: MoonEmbedder):
    half = load_encoder(settings_for(checkpoint, keep_visual_tokens=0.5))
    photo, words = [Query("", picture(1))], [Query("red chair")]
    assert half.fingerprint == f"{embedder.fingerprint}~0.5"
    np.testing.assert_array_equal(half.embed_queries(words)[0], embedder.embed_queries(words)[0])
    assert not np.allclose(half.embed_queries(photo)[0], embedder.embed_queries(photo)[0], atol=1e-4)


@pytest.mark.parametrize("share", ["0", "1.5", "half"])
def test_a_share_of_visual_tokens_that_cannot_be_is_refused(share: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOON_KEEP_VISUAL_TOKENS", share)
    with pytest.raises(BadInputError, match=f"MOON_KEEP_VISUAL_TOKENS is '{share}'"):
        read_settings()


@pytest.fixture(scope="module")
def headless(base_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("headless")
    save_moon(upcycle(base_of("fastvlm"), expert_rank=4), folder)
    return folder


def test_auto_falls_back_to_saliency_without_a_box_head(headless: Path):
    assert isinstance(load_encoder(settings_for(headless))._detector, SaliencyDetector)


def test_learned_without_a_box_head_is_refused(headless: Path):
    with pytest.raises(ModelError, match="MOON_DETECTOR"):
        load_encoder(settings_for(headless, detector="learned"))


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_an_unusable_device_is_refused(checkpoint: Path, device: str):
    with pytest.raises(ModelError, match="MOON_DEVICE"):
        load_encoder(Settings(_env_file=None, model=str(checkpoint), device=device))


def fingerprint(folder: Path, **values) -> str:
    return model_fingerprint(str(folder), settings_for(folder, **values))


def test_fingerprint_follows_what_shapes_vectors_and_nothing_else(checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint, folder)
    original = fingerprint(checkpoint)
    assert fingerprint(folder) == original
    for note in ("sources.json", "training.json", "evaluation.json", "merge.json", "calibration.json", "README.md"):
        (folder / note).write_text("{}")
    assert fingerprint(folder) == original
    assert fingerprint(folder, batch_size=7) == original
    assert fingerprint(folder, keep_visual_tokens=1) == original
    assert fingerprint(folder, keep_visual_tokens=0.5) == f"{original}~0.5"
    seen = {original, fingerprint(folder, detector="none"), fingerprint(folder, detector="grounding")}
    seen.add(fingerprint(folder, detector="grounding", grounding_model="other/model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "moon": {**config["moon"], "pooling": "last"}}))
    seen.add(fingerprint(folder))
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "moon_skip.gate": weights["moon_skip.gate"] + 1}, folder / "model.safetensors")
    seen.add(fingerprint(folder))
    assert len(seen) == 6


def test_names_are_the_folders_or_the_hub_id(checkpoint: Path):
    assert model_name(str(checkpoint)) == checkpoint.name
    assert model_name("shop/moon-large") == "shop/moon-large"


def test_fingerprints_need_no_torch(checkpoint: Path):
    code = (
        "import sys; from app.moon import model_fingerprint; from app.settings import Settings\n"
        f"print(model_fingerprint({str(checkpoint)!r}, Settings(_env_file=None)), 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert printed == [model_fingerprint(str(checkpoint), settings_for(checkpoint)), "False"]
