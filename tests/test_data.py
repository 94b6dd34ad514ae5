"""Sets, folders and zips: what comes out is what lay there, in order, and nothing else gets in."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from vae import data
from vae.errors import BadInput
from vae.pictures.folders import from_files

RED, BLUE = (255, 0, 0), (0, 0, 255)
FORM = {"size": 8, "channels": 3}


def png(colour=RED, side=16) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "PNG")
    return out.getvalue()


def make_zip(path, **entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_embedded_digits_need_no_network(tmp_path):
    train = data.load("digits-small", tmp_path, size=28, channels=1)
    held = data.load("digits-small", tmp_path, size=28, channels=1, part="heldout")
    assert train.images.shape == (9000, 28, 28, 1)
    assert held.images.shape == (1000, 28, 28, 1)
    assert set(train.attributes["label"]) == set("0123456789")
    # Digits are bright strokes on black, and no two sets of ten thousand are alike in their mean.
    assert 0.12 < train.images.mean() / 255 < 0.14


def test_zip_and_folder_give_the_same_pictures_in_order_of_their_names(tmp_path):
    entries = {"b.png": png(BLUE), "a/c.png": png(RED), "notes.txt": "no picture", "__MACOSX/a.png": "junk"}
    archive = make_zip(tmp_path / "set.zip", **entries)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "set", members=["b.png", "a/c.png", "notes.txt"])
    for source in (archive, tmp_path / "set"):
        pictures = from_files(source, **FORM)
        assert pictures.names == ["a/c.png", "b.png"]
        assert pictures.images.shape == (2, 8, 8, 3)
        assert tuple(pictures.images[0, 0, 0]) == RED
        assert tuple(pictures.images[1, 0, 0]) == BLUE
        assert pictures.attributes is None


def test_attributes_follow_their_pictures(tmp_path):
    table = "file,glasses,hair\nb.png,1,red\na.png,0.5,none\n"
    pictures = from_files(
        make_zip(tmp_path / "set.zip", **{"a.png": png(), "b.png": png(), "attributes.csv": table}), **FORM
    )
    assert pictures.attributes["glasses"].tolist() == [0.5, 1.0]
    assert pictures.attributes["hair"].tolist() == ["none", "red"]


def test_gaps_in_a_table_stay_gaps(tmp_path):
    table = "file,glasses,hair,none\na.png,,\nb.png,1,red,\nelsewhere.png,1,1,1\n"
    archive = make_zip(tmp_path / "set.zip", **{"a.png": png(), "b.png": png(), "attributes.csv": table})
    found = from_files(archive, **FORM).attributes
    assert np.isnan(found["glasses"]).tolist() == [True, False]
    assert found["hair"].tolist() == ["", "red"]
    assert np.isnan(found["none"]).all()


@pytest.mark.parametrize("table", ["", "\n", "hair\nred\n", "file\n", "\0\0", "a,b\n1\n"])
def test_a_table_that_names_no_files_is_refused_with_a_sentence(tmp_path, table):
    archive = make_zip(tmp_path / "set.zip", **{"a.png": png(), "attributes.csv": table})
    with pytest.raises(BadInput, match=r"no row for a\.png"):
        from_files(archive, **FORM)


def test_a_picture_without_a_row_is_named(tmp_path):
    archive = make_zip(tmp_path / "set.zip", **{"a.png": png(), "attributes.csv": "file,x\nz.png,1\n"})
    with pytest.raises(BadInput, match=r"a\.png"):
        from_files(archive, **FORM)


def test_the_first_tenth_by_name_is_held_out(tmp_path):
    for i in range(20):
        (tmp_path / f"{i:02}.png").write_bytes(png((i, i, i)))
    held = data.load("mine", tmp_path, **FORM, part="heldout")
    train = data.load("mine", tmp_path, **FORM)
    assert held.names == ["00.png", "01.png"]
    assert train.names == [f"{i:02}.png" for i in range(2, 20)]
    assert np.array_equal(train.images[:, 0, 0, 0], np.arange(2, 20))


def test_a_set_is_found_by_its_name_in_the_root(tmp_path):
    make_zip(tmp_path / "mine.zip", **{f"{i}.png": png() for i in range(3)})
    assert len(data.load("mine", tmp_path, **FORM)) == 2
    assert len(data.load("anything", tmp_path / "mine.zip", **FORM)) == 2


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"readme.txt": "hello"}, "no pictures"),
        ({}, "no pictures"),
        ({"../a.png": png()}, "climbs out"),
        ({"/etc/a.png": png()}, "climbs out"),
        ({"x\\..\\..\\a.png": png()}, "climbs out"),
        ({"C:/a.png": png()}, "climbs out"),
        ({"a.png": b"\0" * 20_000_000}, "too much"),
        ({"a.png": png()[:45]}, r"a\.png"),
        ({"a.png": "words"}, r"a\.png"),
        ({"a.png": png(), "attributes.csv": "file,x\na.png," + 61 * "y"}, "over 60 characters in the column x"),
        ({"a.png": png(), "attributes.csv": "file,x\na.png," + 200_000 * "y"}, "attributes.csv cannot be read"),
        ({"a.png": png(), "attributes.csv": "file" + "".join(f",{i}" for i in range(101)) + "\na.png"}, "101 columns"),
    ],
)
def test_zips_are_refused_with_a_sentence(tmp_path, entries, words):
    with pytest.raises(BadInput, match=words):
        from_files(make_zip(tmp_path / "bad.zip", **entries), **FORM)


def test_damaged_zips_are_refused(tmp_path):
    whole = make_zip(tmp_path / "whole.zip", **{"a.png": png(side=300)}).read_bytes()
    for name, content in {"cut": whole[:100], "text": b"hello", "empty": b""}.items():
        path = tmp_path / f"{name}.zip"
        path.write_bytes(content)
        with pytest.raises(BadInput, match="no zip"):
            from_files(path, **FORM)
    flipped = bytearray(whole)
    flipped[60] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(flipped)
    with pytest.raises(BadInput, match="damaged"):
        from_files(tmp_path / "flipped.zip", **FORM)


def test_zips_with_forged_parts_are_refused(tmp_path):
    for name in (".", "./", "a" * 60_000):
        path = make_zip(tmp_path / "odd.zip", **{name: b"", "a.png": png()})
        assert len(from_files(path, **FORM)) == 1
    plain = make_zip(tmp_path / "plain.zip", **{"naive.png": png()}).read_bytes()
    (tmp_path / "nameless.zip").write_bytes(plain.replace(b"naive.png", b"\0aive.png"))
    (tmp_path / "words.zip").write_bytes(_flagged(plain, 0x800).replace(b"naive.png", b"na\xffve.png"))
    for name in ("nameless.zip", "words.zip"):
        with pytest.raises(BadInput, match="no zip"):
            from_files(tmp_path / name, **FORM)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", png(side=64))
    packed = bytearray((tmp_path / "packed.zip").read_bytes())
    packed[60:80] = bytes(20)
    (tmp_path / "packed.zip").write_bytes(packed)
    with pytest.raises(BadInput, match="damaged"):
        from_files(tmp_path / "packed.zip", **FORM)


def _flagged(content: bytes, flag: int) -> bytes:
    """A zip of one entry with a flag set in both its headers."""
    content = bytearray(content)
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = content.find(signature) + offset
        content[place : place + 2] = (int.from_bytes(content[place : place + 2], "little") | flag).to_bytes(2, "little")
    return bytes(content)


def test_a_locked_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "locked.zip", **{"a.png": png()})
    path.write_bytes(_flagged(path.read_bytes(), 1))
    with pytest.raises(BadInput, match="password"):
        from_files(path, **FORM)


def test_too_many_pictures_are_refused_before_any_is_read(tmp_path):
    archive = make_zip(tmp_path / "many.zip", **{f"{i}.png": b"never read" for i in range(4)})
    with pytest.raises(BadInput, match="4 pictures; 3"):
        from_files(archive, **FORM, most=3)


def test_missing_and_empty_places_are_named(tmp_path):
    with pytest.raises(BadInput, match="nothing at"):
        from_files(tmp_path / "gone.zip", **FORM)
    with pytest.raises(BadInput, match="no pictures"):
        from_files(tmp_path, **FORM)
    with pytest.raises(BadInput, match="No pictures at"):
        data.load("mine", tmp_path, **FORM)
    with pytest.raises(BadInput, match="part"):
        data.load("digits-small", size=28, channels=1, part="test")
