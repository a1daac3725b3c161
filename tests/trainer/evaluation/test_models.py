"""Every family of models under evaluation, on tiny random models of the same architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny_baselines import WRITERS, picture, qwen3, still_processors
from transformers import AutoModel, AutoProcessor

from app.errors import BadInputError, ModelError
from app.settings import Settings
from trainer.evaluation.models import Content, EmbeddingModel, open_model

FAMILIES = {
    "clip-ViT-B-32": "CLIP",
    "fashion-clip": "CLIP",
    "siglip2-base-patch16-224": "SigLIP",
    "InternVL3-2B-hf": "InternVL",
    "Qwen2-VL-2B-Instruct": "Qwen2-VL",
    "Qwen2.5-VL-3B-Instruct": "Qwen2.5-VL",
    "Qwen3-VL-2B-Instruct": "Qwen3-VL",
    "gme-Qwen2-VL-2B-Instruct": "GME",
    "Qwen3-VL-Embedding-2B": "Qwen3-VL-Embedding",
    "bare/Qwen3-VL-Embedding-2B": "Qwen3-VL-Embedding",
}
TOWERS = ("clip-ViT-B-32", "fashion-clip", "siglip2-base-patch16-224")
JOINT = tuple(name for name in FAMILIES if name not in TOWERS)
ONE, TWO = picture(1), picture(2, (60, 90))
CONTENTS = [
    Content(title="red chair", category=("Seats", "Chairs"), attributes={"color": ("red", "black")}),
    Content(images=(ONE,)),
    Content(images=(TWO, picture(3)), title="oak table"),
    Content(title="lamp"),
    Content(images=(picture(4),), title="sofa"),
]


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, device="cpu", **values)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """The folder of a tiny model by the name of the one it stands for."""
    root, folders = tmp_path_factory.mktemp("baselines"), {}

    def folder(name: str) -> Path:
        if name not in folders:
            torch.manual_seed(0)
            folders[name] = WRITERS[name](root / name)
        return folders[name]

    with still_processors():
        yield folder


@pytest.fixture(scope="session")
def opened(folder_of: Callable[[str], Path]) -> Callable[[str], EmbeddingModel]:
    """The tiny model by the name of the one it stands for."""
    models: dict[str, EmbeddingModel] = {}

    def model(name: str) -> EmbeddingModel:
        if name not in models:
            models[name] = open_model(str(folder_of(name)), settings(batch_size=8))
        return models[name]

    return model


@pytest.mark.parametrize(("name", "family"), FAMILIES.items())
def test_every_family_gives_unit_vectors_for_any_mix_of_pictures_and_text(
    opened: Callable[[str], EmbeddingModel], name: str, family: str
):
    model = opened(name)
    assert (model.name, model.family) == (name.split("/")[-1], family)
    for rows in (model.embed(CONTENTS, is_query=False), model.embed_labels(["color: red", "Seats"], "attribute")):
        assert rows.dtype == np.float32
        assert rows.shape[1] == model.dimensions
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    assert model.embed([], is_query=True).shape == (0, model.dimensions)


@pytest.mark.parametrize("name", FAMILIES)
def test_vectors_keep_their_order_and_do_not_depend_on_the_batch(opened: Callable[[str], EmbeddingModel], name: str):
    model = opened(name)
    for is_query in (False, True):
        together = model.embed(CONTENTS, is_query=is_query)
        alone = np.concatenate([model.embed([content], is_query=is_query) for content in CONTENTS])
        np.testing.assert_allclose(together, alone, atol=1e-4)
        similarities = together @ together.T
        assert (similarities[~np.eye(len(CONTENTS), dtype=bool)] < 0.9999).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_picture_and_every_field_counts(opened: Callable[[str], EmbeddingModel], name: str):
    whole = Content(images=(ONE, TWO), title="chair", category=("Seats",), attributes={"color": ("red",)})
    parts = {"images": (ONE,), "title": "sofa", "category": ("Tables",), "attributes": {"color": ("green",)}}
    others = [Content(**{**vars(whole), field: value}) for field, value in parts.items()]
    vectors = opened(name).embed([whole, *others], is_query=False)
    assert (vectors[1:] @ vectors[0] < 0.99999).all()


@pytest.mark.parametrize("name", ["clip-ViT-B-32", "siglip2-base-patch16-224"])
def test_two_towers_are_transformers_own_pooled_outputs(
    opened: Callable[[str], EmbeddingModel], folder_of: Callable[[str], Path], name: str
):
    folder = folder_of(name)
    folder = folder / "0_CLIPModel" if name.startswith("clip") else folder
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    fixed = {"padding": "max_length", "max_length": 16, "return_attention_mask": False}
    words = processor(text=["red chair"], return_tensors="pt", **(fixed if name.startswith("siglip") else {}))
    with torch.inference_mode():
        text = model.get_text_features(**words).pooler_output.numpy()
        images = model.get_image_features(**processor(images=[ONE, TWO], return_tensors="pt")).pooler_output.numpy()
    text, images = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (text, images))
    mean = images.mean(axis=0) / np.linalg.norm(images.mean(axis=0))
    expected = np.stack([text[0], images[0], mean, mean + text[0]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    contents = [
        Content(title="red chair"),
        Content(images=(ONE,)),
        Content(images=(ONE, TWO)),
        Content(images=(ONE, TWO), title="red chair"),
    ]
    np.testing.assert_allclose(opened(name).embed(contents, is_query=False), expected, atol=1e-5)


def test_siglip_reads_lower_case(opened: Callable[[str], EmbeddingModel]):
    upper, lower = opened("siglip2-base-patch16-224").embed_labels(["Red OAK Chair", "red oak chair"], "category")
    np.testing.assert_array_equal(upper, lower)


@pytest.mark.parametrize("name", TOWERS)
def test_text_that_no_tower_could_hold_is_cut(opened: Callable[[str], EmbeddingModel], name: str):
    start = "red green oak chair sofa lamp " * 3
    rows = opened(name).embed_labels([start, start + "table leather", "table " + start], "category")
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    assert rows[0] @ rows[2] < 0.999


@pytest.mark.parametrize("name", JOINT)
def test_long_text_is_cut_and_pictures_stay_whole(opened: Callable[[str], EmbeddingModel], name: str):
    start = "red oak chair " * 200
    contents = [Content(images=(ONE, TWO), title=title) for title in (start, start + "sofa", "sofa " + start)]
    rows = opened(name).embed(contents, is_query=False)
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)
    assert rows[0] @ rows[2] < 0.99999


@pytest.mark.parametrize("name", FAMILIES)
def test_no_title_becomes_a_special_token(opened: Callable[[str], EmbeddingModel], name: str):
    special = "<|endoftext|>" if name in TOWERS else "<|image_pad|>"
    special = "<IMG_CONTEXT>" if name.startswith("InternVL") else special
    contents = [Content(title=title, images=(ONE,)) for title in (f"{special}chair", "chair", "lamp")]
    rows = opened(name).embed(contents, is_query=False)
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    assert rows[0] @ rows[2] < 0.9999


@pytest.mark.parametrize("name", FAMILIES)
def test_a_title_that_looks_like_an_address_is_not_fetched(opened: Callable[[str], EmbeddingModel], name: str):
    contents = [Content(title=f"https://{host}.jpg") for host in ("a", "b")]
    rows = opened(name).embed(contents, is_query=True)
    assert np.isfinite(rows).all()
    assert rows[0] @ rows[1] < 0.9999


HELPFUL, RETRIEVE = "You are a helpful assistant.", "Retrieve images or text relevant to the user's query."
PLAIN = "<|im_start|>system\n{0}<|im_end|>\n<|im_start|>user\n{1}<|im_end|>\n"
REPLY = PLAIN + "<|im_start|>assistant\n"
SEEN = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.mark.parametrize(
    ("name", "pooling", "prompt", "product", "text_query", "image_query"),
    [
        ("Qwen2-VL-2B-Instruct", "mean", PLAIN, HELPFUL, HELPFUL, HELPFUL),
        ("Qwen2.5-VL-3B-Instruct", "mean", PLAIN, HELPFUL, HELPFUL, HELPFUL),
        ("Qwen3-VL-2B-Instruct", "mean", PLAIN, HELPFUL, HELPFUL, HELPFUL),
        ("InternVL3-2B-hf", "mean", PLAIN, HELPFUL, HELPFUL, HELPFUL),
        (
            "gme-Qwen2-VL-2B-Instruct",
            "last",
            REPLY + "<|endoftext|>",
            HELPFUL,
            "Find an image that matches the given text.",
            HELPFUL,
        ),
        (
            "bare/Qwen3-VL-Embedding-2B",
            "last",
            REPLY + "<|endoftext|>",
            "Represent the user's input.",
            RETRIEVE,
            RETRIEVE,
        ),
        ("Qwen3-VL-Embedding-2B", "last", REPLY, "Represent the user's input.", RETRIEVE, RETRIEVE),
    ],
)
def test_language_models_pool_where_they_should(
    opened: Callable[[str], EmbeddingModel],
    folder_of: Callable[[str], Path],
    name: str,
    pooling: str,
    prompt: str,
    product: str,
    text_query: str,
    image_query: str,
):
    """Against the prompt written out and a plain forward pass of transformers' own class."""
    folder = folder_of(name)
    model = AutoModel.from_pretrained(folder, trust_remote_code=False)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    seen = "<IMG_CONTEXT>\n" if name.startswith("InternVL") else SEEN

    def direct(instruction: str, title: str, images: list) -> np.ndarray:
        text = prompt.format(instruction, seen * len(images) + title)
        batch = processor(text=[text], images=images or None, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state[0]
        pooled = (hidden.mean(dim=0) if pooling == "mean" else hidden[-1]).numpy()
        return pooled / np.linalg.norm(pooled)

    item, words, photo = Content(images=(ONE, TWO), title="red chair"), Content(title="lamp"), Content(images=(ONE,))
    products = opened(name).embed([words, item], is_query=False)
    queries = opened(name).embed([item, words, photo], is_query=True)
    np.testing.assert_allclose(products[0], direct(product, "lamp", []), atol=1e-4)
    np.testing.assert_allclose(products[1], direct(product, "red chair", [ONE, TWO]), atol=1e-4)
    np.testing.assert_allclose(queries[0], direct(image_query, "red chair", [ONE, TWO]), atol=1e-4)
    np.testing.assert_allclose(queries[1], direct(text_query, "lamp", []), atol=1e-4)
    np.testing.assert_allclose(queries[2], direct(image_query, "", [ONE]), atol=1e-4)


def test_weights_in_the_layout_of_the_hub_are_read(folder_of: Callable[[str], Path]):
    """Qwen's older checkpoints keep the vision tower at the top and the language model as ``model``."""
    names = set(load_file(folder_of("Qwen2.5-VL-3B-Instruct") / "model.safetensors"))
    assert "lm_head.weight" in names
    assert {name.split(".")[0] for name in names} == {"visual", "model", "lm_head"}


def test_missing_weights_are_an_error_and_not_random(folder_of: Callable[[str], Path], tmp_path: Path):
    folder = qwen3(tmp_path / "Qwen3-VL-2B-Instruct")
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file({name: value for name, value in weights.items() if name != lost}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 weights are missing .*layers\.1\.mlp\.up_proj\.weight"):
        open_model(str(folder), settings())


def test_a_text_only_model_is_refused(folder_of: Callable[[str], Path], tmp_path: Path):
    module = SentenceTransformer(str(folder_of("Qwen3-VL-Embedding-2B")), device="cpu")[0]
    words = SentenceTransformer(modules=[module, Pooling(module.get_embedding_dimension())], device="cpu")
    module.modality_config = {"text": module.modality_config["text"]}
    words.save_pretrained(str(tmp_path / "words"))
    with pytest.raises(ModelError, match="reads text only"):
        open_model(str(tmp_path / "words"), settings())


def test_other_sentence_transformers_models_use_their_own_prompts(folder_of: Callable[[str], Path], tmp_path: Path):
    folder = tmp_path / "own"
    module = SentenceTransformer(str(folder_of("Qwen3-VL-Embedding-2B")), device="cpu")[0]
    SentenceTransformer(
        modules=[module, Pooling(module.get_embedding_dimension())],
        prompts={"query": "Find it.", "document": "Describe it."},
        device="cpu",
    ).save_pretrained(str(folder))
    model, own = open_model(str(folder), settings()), SentenceTransformer(str(folder), device="cpu")
    assert model.family == "sentence-transformers"
    for is_query, prompt in ((True, "Find it."), (False, "Describe it.")):
        expected = own.encode([{"image": [ONE], "text": "red chair"}], prompt=prompt, normalize_embeddings=True)
        found = model.embed([Content(images=(ONE,), title="red chair")], is_query=is_query)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_unusable_device_is_refused(folder_of: Callable[[str], Path]):
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_model(str(folder_of("fashion-clip")), Settings(_env_file=None, device="cuda:99"))


def test_content_without_anything_is_refused():
    for empty in ({}, {"title": " "}, {"category": (" ",), "attributes": {}}):
        with pytest.raises(BadInputError, match="nothing to embed"):
            Content(**empty)
    with pytest.raises(BadInputError, match="2 pictures but 1 crops"):
        Content(images=(ONE, TWO), crops=(None,))
