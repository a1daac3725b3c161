from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw

from app.moon.crops import usable_box
from trainer.data.pictures import ORIGINAL_SIZE
from trainer.data.record import Picture
from trainer.data.views import VARIANTS, View, loose_crop, reframed

BOX = (100.0, 50.0, 300.0, 250.0)


@st.composite
def scenes(draw):
    """A picture's size, a box of at least 4 pixels inside it, and a random generator."""
    width, height = draw(st.integers(40, 400)), draw(st.integers(40, 400))
    side = min(width, height)
    x0, y0 = draw(st.integers(0, width - 5)), draw(st.integers(0, height - 5))
    x1 = draw(st.integers(x0 + 4, min(width, x0 + side)))
    y1 = draw(st.integers(y0 + 4, min(height, y0 + side)))
    return (float(x0), float(y0), float(x1), float(y1)), width, height, random.Random(draw(st.integers(0, 999)))


def inside(crop, width, height) -> bool:
    return 0 <= crop[0] < crop[2] <= width + 1e-6 and 0 <= crop[1] < crop[3] <= height + 1e-6


@given(scenes())
def test_reframed_photos_are_squares_inside_the_picture_that_hold_the_box(scene):
    box, width, height, rng = scene
    frame = reframed(box, width, height, rng)
    assert inside(frame, width, height)
    assert frame[2] - frame[0] == pytest.approx(frame[3] - frame[1])
    assert frame[0] <= box[0] + 1e-6
    assert frame[1] <= box[1] + 1e-6
    assert frame[2] >= box[2] - 1e-6
    assert frame[3] >= box[3] - 1e-6


@given(scenes())
def test_loose_crops_stay_inside_the_picture_and_keep_most_of_the_box(scene):
    box, width, height, rng = scene
    crop = loose_crop(box, width, height, rng)
    assert inside(crop, width, height)
    kept = (min(crop[2], box[2]) - max(crop[0], box[0])) * (min(crop[3], box[3]) - max(crop[1], box[1]))
    assert kept >= 0.64 * (box[2] - box[0]) * (box[3] - box[1]) - 1e-6


def picture(width: int = 400, height: int = 300) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def read(location: str) -> Image.Image:
    return picture()


def shrunk(image: Image.Image, factor: int) -> Image.Image:
    """As PictureStore hands on a large picture."""
    small = image.resize((image.width // factor, image.height // factor))
    small.info[ORIGINAL_SIZE] = image.size
    return small


def crop_of(view: View, image: Image.Image):
    return view.crop(*view.taken(lambda _: image))


@pytest.mark.parametrize("cut", ["core", "loose", "frame"])
def test_every_variant_of_a_picture_is_always_the_same_and_unlike_the_others(cut):
    found = [crop_of(View("a.jpg", BOX, cut, variant), picture()) for variant in range(VARIANTS)]
    assert found == [crop_of(View("a.jpg", BOX, cut, variant), picture()) for variant in range(VARIANTS)]
    assert len(set(found)) == (1 if cut == "core" else VARIANTS)
    assert (crop_of(View("b.jpg", BOX, cut), picture()) == found[0]) == (cut == "core")


def test_a_core_is_cut_as_in_the_index():
    crop = crop_of(View("a.jpg", BOX, "core"), picture())
    assert crop == usable_box(BOX, 400, 300) == (90.0, 40.0, 310.0, 260.0)
    assert View("a.jpg", BOX, "core").show(read).size == (220, 220)


@pytest.mark.parametrize("cut", ["core", "loose", "frame"])
def test_boxes_are_of_the_original_picture_also_where_a_smaller_one_was_read(cut):
    view, image = View("a.jpg", BOX, cut), picture()
    assert crop_of(view, shrunk(image, 4)) == pytest.approx([side / 4 for side in crop_of(view, image)])


def test_a_whole_picture_is_shown_as_it_is():
    image = picture()
    assert View("a.jpg", BOX).show(lambda _: image) is image
    assert View("a.jpg", None, "core").show(lambda _: image) is image


@pytest.mark.parametrize("cut", ["core", "loose", "frame"])
@pytest.mark.parametrize(
    "box",
    [(0.0, 0.0, 400.0, 299.0), (5.0, 5.0, 9.0, 9.0), (450.0, 320.0, 600.0, 500.0)],
    ids=["all", "speck", "beyond"],
)
def test_a_box_that_is_no_use_leaves_the_whole_picture(cut, box):
    assert crop_of(View("a.jpg", box, cut), picture()) is None


@pytest.mark.parametrize("variant", range(6))
@pytest.mark.parametrize("cut", ["core", "loose", "frame"])
def test_cuts_of_a_box_that_reaches_beyond_the_picture_stay_inside_it(cut, variant):
    view = View("a.jpg", (360.0, 150.0, 900.0, 290.0), cut, variant)
    assert inside(crop_of(view, picture()), 400, 300)
    assert min(view.show(read).size) > 10


def test_variants_are_taken_by_other_cameras_and_what_is_served_is_not():
    core, frame = View("a.jpg", BOX, "core"), View("a.jpg", BOX, "frame", 1)
    assert core.show(read).tobytes() == picture().crop((90, 40, 310, 260)).tobytes()
    shown = [View("a.jpg", BOX, "frame", variant).show(read) for variant in range(20)]
    assert frame.show(read).tobytes() == shown[1].tobytes()
    plain = [
        picture().crop(tuple(round(side) for side in crop_of(View("a.jpg", BOX, "frame", n), picture())))
        for n in range(20)
    ]
    assert [image.size for image in shown] == [image.size for image in plain]
    assert sum(a.tobytes() != b.tobytes() for a, b in zip(shown, plain, strict=True)) > 10


ROOM = Picture("room.jpg", (150.0, 100.0, 250.0, 200.0))


def packshot_and_room(location: str) -> Image.Image:
    """A blue product on white, and a grey room with a yellow product."""
    image = Image.new("RGB", (200, 160), "white") if location == "white.jpg" else Image.new("RGB", (400, 300), "grey")
    box, colour = ((60, 40, 139, 119), "blue") if location == "white.jpg" else ((150, 100, 249, 199), "yellow")
    ImageDraw.Draw(image).rectangle(box, fill=colour)
    return image


def blue_box(image: Image.Image) -> tuple[float, ...]:
    red, _, blue = image.convert("RGB").split()
    return ImageChops.subtract(blue, red).point(lambda value: 255 * (value > 100)).getbbox()


@pytest.mark.parametrize("variant", range(6))
def test_a_scene_shows_the_packshots_product_in_the_room_and_knows_its_box(variant):
    view = View("white.jpg", variant=variant, room=ROOM)
    scene, box = view.taken(packshot_and_room)
    assert box == pytest.approx(blue_box(scene), abs=4)
    assert inside(box, *scene.size)
    assert scene.getpixel((2, 2)) != (255, 255, 255)
    again, same = view.taken(packshot_and_room)
    assert (again.tobytes(), same) == (scene.tobytes(), box)


def test_cuts_of_a_scene_are_of_the_same_scene():
    whole, core = (View("white.jpg", None, cut, 0, ROOM) for cut in ("whole", "core"))
    scene, box = whole.taken(packshot_and_room)
    assert whole.show(packshot_and_room).tobytes() == scene.tobytes()
    crop = tuple(round(side) for side in usable_box(box, *scene.size))
    assert core.show(packshot_and_room).tobytes() == scene.crop(crop).tobytes()


def test_a_packshot_that_cannot_be_cut_out_stays():
    image, box = View("photo.jpg", room=ROOM).taken(packshot_and_room)
    assert (image.tobytes(), box) == (packshot_and_room("photo.jpg").tobytes(), None)
