from __future__ import annotations

import pytest
from PIL import Image
from shop_samples import COLOURS, publish

from app.calibration import ATTRIBUTE, CATEGORY, Calibration, Competition
from app.errors import BadInputError, IndexUnavailableError
from app.predict import Predictor
from app.schema import Product

HALF_RED = Image.new("RGB", (64, 48), COLOURS["blue"])
HALF_RED.paste(COLOURS["red"], (0, 0, 32, 48))


class ProductRecorder:
    """Passes everything on to an embedder and keeps what was asked."""

    def __init__(self, embedder) -> None:
        self._embedder = embedder
        self.products: list[Product] = []
        self.pictures: list[Image.Image] = []
        self.labels: list[str] = []

    def __getattr__(self, name):
        return getattr(self._embedder, name)

    def embed_products(self, products, images):
        self.products += products
        self.pictures += images[0]
        return self._embedder.embed_products(products, images)

    def embed_labels(self, labels, segment):
        self.labels += labels
        return self._embedder.embed_labels(labels, segment)


@pytest.fixture
def recorder(embedder):
    return ProductRecorder(embedder)


def test_title_decides_category_at_every_level(published):
    predicted = published.predictor.predict(title="lovely sofas")
    assert [level[0].label for level in predicted.categories] == ["Furniture", "Furniture > Sofas"]


def test_title_decides_attribute_values(published):
    best = published.predictor.predict(title="chair in blue").attributes["color"]
    assert best[0].label == "blue"
    assert {candidate.label for candidate in best} == {"red", "green", "blue"}
    assert sum(candidate.probability for candidate in best) == pytest.approx(1)


def test_a_parent_is_as_probable_as_its_children_together(published):
    roots, children = published.predictor.predict(title="red chairs").categories
    by_root = {candidate.label: candidate.probability for candidate in roots}
    assert by_root["Furniture"] == pytest.approx(sum(candidate.probability for candidate in children))
    assert sum(by_root.values()) == pytest.approx(1)


def test_the_nearest_products_vote_for_their_category(new_service, embedder):
    products = [
        Product(id="1", category=["Sofas"], title="plain chair"),
        Product(id="2", category=["Chairs"], title="x"),
    ]
    publish(new_service.store, embedder, products)
    voted = new_service.predictor.predict(title="plain chair").categories[0]
    labels = embedder.embed_labels(["Sofas", "Chairs"], "category") @ embedder.embed_products(
        [Product(id="?", title="plain chair")], [[]]
    )[0].astype("float64")
    alone = 1 / (1 + 2.718281828 ** ((labels[1] - labels[0]) / 0.05))
    sofas = next(candidate.probability for candidate in voted if candidate.label == "Sofas")
    assert (1 - CATEGORY.vote) * alone < sofas <= (1 - CATEGORY.vote) * alone + CATEGORY.vote


def calibrated(categories: Competition, colours: Competition) -> Calibration:
    """For titles alone."""
    return Calibration(
        fingerprint="colour-words-1",
        designs=(),
        categories={"text": categories},
        attributes={"text": {"color": colours}},
        search={},
    )


def test_without_a_calibration_nothing_is_said_to_be_sure(published):
    assert published.predictor.predict(title="sofas").sure is None


def test_a_calibration_decides_how_sure_titles_are_and_leaves_photos_alone(published, settings, embedder):
    calibration = calibrated(Competition(temperature=0.01, vote=0, sure=(0.5,)), Competition(temperature=1, vote=0))
    predictor = Predictor(embedder, published.live, settings, calibration)
    sharp, plain = predictor.predict(title="red sofas"), published.predictor.predict(title="red sofas")
    assert sharp.categories[1][0].probability > plain.categories[1][0].probability
    assert sharp.attributes["color"][0].probability < plain.attributes["color"][0].probability
    assert (sharp.sure.categories, sharp.sure.attributes) == ([True, True], {"color": False})
    assert predictor.predict(HALF_RED).sure is None


def test_a_level_is_sure_only_below_sure_ones(published, settings, embedder):
    calibration = calibrated(Competition(temperature=0.05, vote=0.1, sure=(None, 0.0)), ATTRIBUTE)
    predicted = Predictor(embedder, published.live, settings, calibration).predict(title="sofas")
    assert predicted.sure.categories == [False, False]


def test_neighbours_vote_for_attributes_as_well(published, settings, embedder):
    calibration = calibrated(CATEGORY, Competition(temperature=0.05, vote=1))
    colours = Predictor(embedder, published.live, settings, calibration).predict(title="red chair").attributes["color"]
    assert colours[0].label == "red"
    assert sum(candidate.probability for candidate in colours) == pytest.approx(1)


def test_a_category_with_products_and_subcategories_competes_itself(settings, new_service, embedder):
    products = [Product(id="1", category=["Home"], title="x"), Product(id="2", category=["Home", "Lamps"], title="y")]
    publish(new_service.store, embedder, products)
    roots, children = new_service.predictor.predict(title="home").categories
    assert roots[0].probability == pytest.approx(1)
    assert 0 < children[0].probability < 1


def test_candidates_are_limited(published):
    predicted = published.predictor.predict(title="chair", limit=1)
    assert all(len(level) == 1 for level in [*predicted.categories, *predicted.attributes.values()])


def test_only_photo_and_title_enter_the_product(published, settings, recorder):
    Predictor(recorder, published.live, settings).predict(HALF_RED, "chair")
    assert recorder.products == [Product(id="?", title="chair")]
    assert recorder.pictures == [HALF_RED]


def test_with_a_box_only_that_part_of_the_photo_is_embedded(published, settings, recorder):
    predicted = Predictor(recorder, published.live, settings).predict(HALF_RED, box=(-3, 0, 31.5, 48))
    assert predicted.box == (0, 0, 31.5, 48)
    assert recorder.pictures[0].size == (32, 48)
    assert recorder.pictures[0].getcolors() == [(32 * 48, COLOURS["red"])]


def test_labels_are_embedded_once_and_taken_over_to_the_next_build(new_service, settings, recorder, products):
    predictor = Predictor(recorder, new_service.live, settings)
    publish(new_service.store, recorder, products)
    predictor.predict(title="chair")
    predictor.predict(title="sofa")
    labels = ["Furniture > Chairs", "Furniture > Sofas", "Lighting", "color: blue", "color: green", "color: red"]
    assert sorted(recorder.labels) == labels

    shelf = Product(id="shelf", category=["Furniture", "Shelves"], title="shelf")
    publish(new_service.store, recorder, [*products, shelf], "20261121T060000-000002")
    new_service.live._next_check = 0.0
    predicted = predictor.predict(title="shelves")
    assert predicted.categories[1][0].label == "Furniture > Shelves"
    assert sorted(recorder.labels) == sorted([*labels, "Furniture > Shelves"])


def test_prediction_tells_time_per_stage(published):
    assert list(published.predictor.predict(title="chair").timings) == [
        "labels",
        "embed",
        "neighbours",
        "predict",
        "total",
    ]


def test_unusable_input_is_refused(published):
    predict = published.predictor.predict
    with pytest.raises(BadInputError, match="nothing to predict from"):
        predict(title=" \x00 ")
    with pytest.raises(BadInputError, match="2000 are allowed"):
        predict(title="x" * 10_000)
    with pytest.raises(BadInputError, match="marks nothing"):
        predict(HALF_RED, box=(100, 100, 200, 200))
    with pytest.raises(BadInputError, match="at least 1"):
        predict(title="chair", limit=0)


def test_a_catalog_without_categories_and_attributes_predicts_nothing(new_service, embedder):
    publish(new_service.store, embedder, [Product(id="1", title="plain")])
    predicted = new_service.predictor.predict(title="plain")
    assert (predicted.categories, predicted.attributes) == ([], {})


def test_without_a_published_build_the_error_says_what_to_do(new_service):
    with pytest.raises(IndexUnavailableError, match="indexer rebuild"):
        new_service.predictor.predict(title="chair")
