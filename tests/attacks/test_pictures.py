"""Attacks on the door for pictures: each file tries something; the door answers in one sentence, or with a sound picture."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from vae.errors import BadInput
from vae.pictures import images


def file_of(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def ramp(width: int = 40, height: int = 24) -> np.ndarray:
    """(height, width, 3): no two quarters alike, so that turns and mix-ups show."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([255 * columns // width, 255 * rows // height, 0 * rows + 90], axis=2).astype(np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


PICTURE = Image.fromarray(ramp())
PNG, JPEG = file_of(PICTURE, "PNG"), file_of(PICTURE, "JPEG", quality=95)
GIF = file_of(PICTURE.quantize(16), "GIF")
GIF_HEAD = 13 + 3 * 2 ** ((GIF[10] & 7) + 1)  # bytes up to the end of its palette
REFUSED = {
    "nothing": (b"", "no picture"),
    "text": (b"I am no picture at all, but long enough to look at.", "no picture"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "no picture"),
    "html": (b"<html><img src=x onerror=alert(1)></html>", "no picture"),
    "pdf": (file_of(PICTURE, "PDF"), "no picture"),
    "ppm, a format nobody needs here": (file_of(PICTURE, "PPM"), "no picture"),
    "eps, which would start Ghostscript": (file_of(PICTURE, "EPS"), "no picture"),
    "film": (b"\0\0\0\x20ftypisom" + bytes(100), "no picture"),
    "heic of nothing": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "JPEG"),
    "heif of another brand": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(100), "JPEG"),
    "avif of nothing": (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + bytes(100), "JPEG|cut short"),
    "truncated png": (PNG[: len(PNG) // 2], "cut short"),
    "truncated jpeg": (JPEG[: len(JPEG) // 2], "cut short"),
    "png of a header only": (PNG[:33], "no picture"),
    "1x1": (file_of(Image.new("RGB", (1, 1)), "PNG"), "1 x 1 pixels"),
    "7 pixels high": (file_of(Image.new("RGB", (70, 7)), "PNG"), "70 x 7 pixels"),
    "a thread": (file_of(Image.new("RGB", (4000, 10)), "PNG"), "4000 x 10 pixels"),
    "20,000 x 20,000 in a header": (png_header(20_000, 20_000), "too large"),
    "10,000 x 10,000 in a header": (png_header(10_000, 10_000), "10,000 x 10,000 pixels"),
    "36 million pixels in 35 kB": (file_of(Image.new("1", (6000, 6000)), "PNG"), "6,000 x 6,000 pixels"),
    "a million chunks before the pixels": (PNG[:33] + chunk(b"teSt", b"") * 10**6 + PNG[33:], "small parts"),
    "a million chunks of no pixels": (PNG[:33] + chunk(b"IDAT", b"") * 10**6 + PNG[33:], "small parts"),
    "a million chunks after the pixels": (PNG[:-12] + chunk(b"teSt", b"") * 10**6 + PNG[-12:], "small parts"),
    "a million markers": (JPEG[:2] + b"\xff\xe5\0\2" * 10**6 + JPEG[2:], "small parts"),
    "a million bytes between markers": (JPEG[:2] + b"\xff" * 10**6 + JPEG[2:], "small parts"),
    "a million blocks of a comment": (
        GIF[:GIF_HEAD] + b"!\xfe" + b"\1a" * 10**6 + b"\0" + GIF[GIF_HEAD:],
        "small parts",
    ),
    "a million comments": (GIF[:GIF_HEAD] + b"!\xfe\1a\0" * 10**6 + GIF[GIF_HEAD:], "small parts"),
    "too many bytes": (PNG + bytes(images.MAX_BYTES), "bytes"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name):
    data, word = REFUSED[name]
    with pytest.raises(BadInput, match=word) as refusal:
        images.load(data)
    sentence = str(refusal.value)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 160


@given(st.integers(0, len(PNG) - 1), st.integers(0, 255), st.sampled_from([PNG, JPEG, file_of(PICTURE, "GIF")]))
def test_a_changed_byte_never_does_more_than_a_refusal(place, value, data):
    place %= len(data)
    try:
        picture = images.load(data[:place] + bytes([value]) + data[place + 1 :])
    except BadInput:
        return
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


@pytest.mark.parametrize("path", ["no such file.png", ".", "/dev/zero", "\0"])
def test_what_is_no_file_is_refused(path):
    with pytest.raises(BadInput):
        images.load(path)


def test_every_exif_turn_comes_out_upright():
    upright = ramp()
    # How a camera held in each of the eight ways stores the upright picture (EXIF 2.32, 4.6.4, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }
    for turn, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = turn
        for format in ("PNG", "TIFF", "WEBP"):
            options = {"lossless": True} if format == "WEBP" else {}
            data = file_of(Image.fromarray(np.ascontiguousarray(pixels)), format, exif=exif, **options)
            np.testing.assert_array_equal(images.load(data), upright, err_msg=f"turn {turn}, {format}")
        jpeg = file_of(Image.fromarray(np.ascontiguousarray(pixels)), "JPEG", exif=exif, quality=98, subsampling=0)
        assert np.abs(images.load(jpeg).astype(int) - upright).max() < 12, f"turn {turn}, JPEG"


def test_an_animation_gives_its_first_frame():
    first, second = Image.new("RGB", (20, 20), (200, 30, 30)), Image.new("RGB", (20, 20), (30, 30, 200))
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = file_of(first, format, save_all=True, append_images=[second], **options)
        assert images.load(data)[10, 10].tolist() == [200, 30, 30], format


def test_alpha_lies_on_white():
    picture = Image.new("RGBA", (16, 16), (10, 20, 30, 0))
    picture.paste((10, 20, 30, 255), (0, 0, 8, 16))
    picture.putpixel((15, 15), (0, 0, 0, 128))
    loaded = images.load(file_of(picture, "PNG"))
    assert loaded[0, 0].tolist() == [10, 20, 30] and loaded[0, 15].tolist() == [255] * 3
    assert loaded[15, 15].tolist() == [127] * 3
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert images.load(file_of(palette, "PNG", transparency=1)).min() == 255
    assert images.load(file_of(palette, "GIF")).reshape(-1, 3).tolist()[0] == [0, 255, 0]
    grey = Image.merge("LA", [Image.new("L", (16, 16), 0), Image.new("L", (16, 16), 0)])
    assert images.load(file_of(grey, "PNG")).min() == 255


def test_sixteen_bits_are_scaled_and_not_clipped():
    values = np.linspace(0, 65535, 256).reshape(16, 16)
    wanted = np.round(values / 257)
    sixteen = Image.fromarray(values.astype(np.uint16))
    for format in ("PNG", "TIFF"):
        assert np.abs(images.load(file_of(sixteen, format))[:, :, 0] - wanted).max() <= 1, format
    whole = Image.fromarray(values.astype(np.int32))
    assert np.abs(images.load(file_of(whole, "TIFF"))[:, :, 0] - wanted).max() <= 1
    for top in (1.0, 255.0, 65535.0):
        floats = Image.fromarray((values / 65535 * top).astype(np.float32))
        assert np.abs(images.load(file_of(floats, "TIFF"))[:, :, 0] - wanted).max() <= 1, top
    assert np.abs(images.load(file_of(Image.fromarray(values.astype(">u2")), "TIFF"))[:, :, 0] - wanted).max() <= 1
    broken = values.astype(np.float32) / 65535
    broken[3, 3] = np.nan
    broken[4, 4] = np.inf
    assert images.load(file_of(Image.fromarray(broken), "TIFF")).max() == 255


def test_cmyk_and_one_bit_become_rgb():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = images.load(file_of(cmyk, "JPEG"))[8, 8]
    assert red[0] > 200 and red[1] < 60 and red[2] < 60
    assert images.load(file_of(Image.new("1", (16, 16), 1), "PNG")).min() == 255


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_damaged_exif_does_no_harm():
    data = file_of(PICTURE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\xff\xff\xff\xff" * 9)
    assert images.load(data).shape == (24, 40, 3)


def test_a_phones_photograph_of_24_megapixels_is_taken_with_little_memory(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    # Progressive is the worst case: libjpeg holds the whole picture's coefficients.
    PICTURE.resize((6048, 4032), 0).save(tmp_path / "phone.jpg", quality=85, exif=exif, progressive=True)
    code = (
        "import resource, sys; from vae.pictures import images; at = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    )
    code += "; print(images.load(sys.argv[1]).shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at)"
    run = [sys.executable, "-c", code, str(tmp_path / "phone.jpg")]
    answer = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    assert answer.startswith("(2048, 1365, 3)")
    assert int(answer.split()[-1]) * (1 if sys.platform == "darwin" else 1024) < 250e6


def test_a_large_picture_of_another_kind_is_taken_too():
    data = file_of(Image.new("RGBA", (3000, 2500), (200, 0, 0, 255)), "PNG", compress_level=1)
    loaded = images.load(data)
    assert max(loaded.shape) == images.LOADED_SIDE and loaded[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_greys_of_any_depth_fill_their_own_range(bits, kind, format):
    if format == "PNG" and kind != np.uint16:
        return
    shares = np.linspace(0, 0.9, 256).reshape(16, 16)  # no pixel need be white
    values = Image.fromarray((shares * (2**bits - 1)).round().astype(kind))
    assert np.abs(images.load(file_of(values, format))[:, :, 0] - 255 * shares).max() <= 2


def test_a_dark_picture_of_sixteen_bits_stays_dark():
    eighth = np.linspace(0, 65535 / 8, 256).reshape(16, 16).round().astype(np.uint16)  # three stops under
    assert images.load(file_of(Image.fromarray(eighth), "PNG")).max() == 32
    made = np.arange(0, 16, dtype=np.uint16).repeat(16).reshape(16, 16) * 257  # of a dark picture of 8 bits
    assert images.load(file_of(Image.fromarray(made), "PNG")).max() == 15
    assert images.load(file_of(Image.fromarray(0 * made), "PNG")).max() == 0


@pytest.mark.parametrize("kind", [np.uint16, ">u2", np.int32, np.float32])
def test_turns_of_deep_greys_come_out_upright(kind):
    upright = ramp()[..., 0]
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)).astype(kind) * 257)
    for format in ("TIFF", "PNG")[: 2 if kind == np.uint16 else 1]:
        assert np.abs(images.load(file_of(stored, format, exif=exif))[..., 0].astype(int) - upright).max() <= 1


@pytest.mark.parametrize("ending", ["jfif", "jpe", "png", ""])
def test_a_file_is_what_its_bytes_say(tmp_path, ending):
    file = tmp_path / f"picture.{ending}"
    file.write_bytes(JPEG)
    np.testing.assert_array_equal(images.load(file), images.load(JPEG))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(ramp())))
    loaded = images.load(file_of(stored, "AVIF", quality=98, subsampling="4:4:4", exif=exif))
    assert np.abs(loaded.astype(int) - ramp()).max() < 12


def heic() -> bytes:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(PICTURE.resize((80, 48), 0)).save(file, quality=95, chroma=444)
    return file.getvalue()


def test_heic_is_read():
    loaded = images.load(heic())
    assert loaded.shape == (48, 80, 3)
    assert np.abs(loaded.astype(int) - np.asarray(PICTURE.resize((80, 48), 0))).mean() < 4
    with pytest.raises(BadInput):
        images.load(heic()[:400])


def test_without_pillow_heif_heic_is_refused_with_what_to_do(monkeypatch):
    data = heic()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(BadInput, match="pip install pillow-heif.*JPEG or PNG"):
        images.load(data)
