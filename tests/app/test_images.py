import io
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from app.errors import BadInputError
from app.images import decode_image, read_bytes, read_image

LIMITS = {"max_bytes": 5_000_000, "max_pixels": 50_000_000}
RED = (200, 30, 40)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    return decode_image(data, name="shoe", **LIMITS)


def near(pixel: tuple[int, ...], expected: tuple[int, int, int], tolerance: int = 12) -> bool:
    return max(abs(a - b) for a, b in zip(pixel, expected, strict=True)) <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_accepted_format_becomes_rgb_of_the_same_size_and_colour(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    image = decode(encode(Image.new("RGB", (12, 7), RED), kind))
    assert (image.mode, image.size) == ("RGB", (12, 7))
    assert near(image.getpixel((6, 3)), RED)


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICNS"])
def test_a_format_outside_the_list_is_refused(kind):
    with pytest.raises(BadInputError, match=r"shoe: not a picture .* JPEG, PNG"):
        decode(encode(Image.new("RGB", (16, 16), RED), kind))


@pytest.mark.parametrize("data", [b"<svg onload=alert(1)>", b"hello", b"\x00" * 100, b"%PDF-1.7", b"GIF89a"])
def test_bytes_that_are_no_picture_are_refused_by_name(data):
    with pytest.raises(BadInputError, match="shoe"):
        decode(data)


def test_an_empty_file_is_refused():
    with pytest.raises(BadInputError, match="shoe: the file is empty"):
        decode(b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_truncated_picture_is_refused(kind):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(BadInputError, match=r"shoe: .*(damaged or incomplete|not a picture)"):
        decode(data[: len(data) // 2])


def test_a_decompression_bomb_is_refused_from_its_header():
    bomb = encode(Image.new("1", (20_000, 20_000)))
    with pytest.raises(BadInputError, match=r"shoe: .*more pixels than the limit of 50 megapixels"):
        decode(bomb)


def test_the_pixel_limit_names_the_dimensions():
    data = encode(Image.new("RGB", (30, 40)))
    with pytest.raises(BadInputError, match="30 x 40"):
        decode_image(data, name="shoe", max_bytes=10_000, max_pixels=1000)


def test_the_byte_limit_is_checked_before_anything_is_read():
    with pytest.raises(BadInputError, match=r"shoe: the file is larger than the limit of 0\.001 MB"):
        decode_image(b"x" * 1001, name="shoe", max_bytes=1000, max_pixels=10)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_a_picture_without_two_pixels_per_side_is_refused(size):
    with pytest.raises(BadInputError, match=f"only {size[0]} x {size[1]} pixels; at least 2 x 2"):
        decode(encode(Image.new("RGB", size)))


def test_a_thin_strip_is_refused():
    with pytest.raises(BadInputError, match="strip of 2 x 500"):
        decode(encode(Image.new("RGB", (2, 500))))


def test_exif_rotation_is_applied_and_dropped():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20), "black")
    image.paste(RED, (0, 0, 20, 20))
    upright = decode(encode(image, "JPEG", exif=exif, quality=95))
    assert upright.size == (20, 40)
    assert near(upright.getpixel((10, 5)), RED)
    assert 0x0112 not in upright.getexif()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(mode):
    image = decode(encode(Image.new(mode, (8, 8), (0,) * len(mode))))
    assert image.getpixel((4, 4)) == (255, 255, 255)


def test_a_transparent_palette_colour_becomes_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, *RED])
    image.paste(1, (0, 0, 4, 8))
    decoded = decode(encode(image, "GIF", transparency=0))
    assert decoded.getpixel((6, 4)) == (255, 255, 255)
    assert near(decoded.getpixel((1, 4)), RED)


def test_cmyk_is_converted():
    assert near(decode(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).getpixel((4, 4)), (255, 0, 0), 40)


def test_sixteen_bit_grey_keeps_its_brightness():
    values = np.full((8, 8), 65535 // 2, dtype=np.uint16)
    assert near(decode(encode(Image.fromarray(values))).getpixel((4, 4)), (127, 127, 127), 1)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_brightness_of_unknown_range_is_stretched(dtype):
    ramp = np.linspace(-5, 900, 64).reshape(8, 8).astype(dtype)
    decoded = np.asarray(decode(encode(Image.fromarray(ramp), "TIFF")))
    assert (decoded.min(), decoded.max()) == (0, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, "blue", "green")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    assert near(decode(data).getpixel((4, 4)), RED)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_damaged_bytes_decode_or_are_refused_but_never_crash(kind, changes):
    exif = Image.Exif()
    exif[0x0112] = 8
    data = bytearray(
        encode(Image.new("RGB", (24, 16), RED), kind, **({} if kind in ("GIF", "BMP") else {"exif": exif}))
    )
    for position, value in changes:
        data[position % len(data)] = value
    try:
        outcome = decode(bytes(data)).mode
    except BadInputError as error:
        outcome = str(error)
    assert outcome == "RGB" or outcome.startswith("shoe: ")


def test_pillow_settings_stay_untouched_and_threads_do_not_disturb_each_other():
    limit = Image.MAX_IMAGE_PIXELS
    colours = [(shade, 0, 0) for shade in range(0, 250, 5)]
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(lambda colour: decode(encode(Image.new("RGB", (30, 30), colour))), colours))
    assert [image.getpixel((0, 0)) for image in decoded] == colours
    assert limit == Image.MAX_IMAGE_PIXELS


def test_bytes_and_picture_come_from_the_same_read(tmp_path):
    path = tmp_path / "red chair [1].png"
    path.write_bytes(encode(Image.new("RGB", (9, 9), RED)))
    data, image = read_image(str(path), **LIMITS)
    assert data == path.read_bytes()
    assert image.size == (9, 9)


def test_reading_stops_just_past_the_limit(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * 5000)
    assert len(read_bytes(str(path), max_bytes=100)) == 101
    assert len(read_bytes(path.as_uri(), max_bytes=100)) == 101


@pytest.mark.parametrize("location", ["gone.webp", ".", "nosuch://bucket/picture.webp", "http://[bad/p.png"])
def test_an_unreadable_location_is_named_with_a_remedy(tmp_path, monkeypatch, location):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError) as caught:
        read_bytes(location, max_bytes=100)
    assert str(caught.value).startswith(f"{location}: the picture cannot be read (")
    assert "correct its path or URL" in str(caught.value)


@pytest.fixture
def web():
    class Pictures(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/red.png"
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(encode(Image.new("RGB", (6, 6), RED)))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_catalog_picture_is_read_over_http(web):
    data, image = read_image(f"{web}/red.png", **LIMITS)
    assert near(image.getpixel((3, 3)), RED)
    assert len(read_bytes(f"{web}/red.png", max_bytes=10)) == 11 < len(data)


def test_a_missing_url_is_named(web):
    with pytest.raises(BadInputError, match="404"):
        read_bytes(f"{web}/blue.png", max_bytes=1000)
