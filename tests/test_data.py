"""Sets, folders and zips: what comes out is what lay there, in order, and nothing else gets in."""

import hashlib
import io
import os
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.sparse.csgraph import connected_components

from vae import data
from vae.cli.train import SHOWN, told
from vae.errors import BadInput
from vae.pictures import folders, framing, sets
from vae.pictures.duplicates import near_duplicates
from vae.pictures.folders import from_files
from vae.pictures.split import held_out

RED, BLUE = (255, 0, 0), (0, 0, 255)
FORM = {"size": 8, "channels": 3}


def png(colour=RED, side=16) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "PNG")
    return out.getvalue()


def noise(seed: int) -> bytes:
    """A picture like no other."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def make_folder(path, entries):
    for name, content in entries.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def make_zip(path, **entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_embedded_digits_need_no_network(tmp_path):
    train, held = sets.load("digits-small", tmp_path, size=28, channels=1)
    assert train.images.shape == (10_000 - len(held), 28, 28, 1)
    for label, count in zip(*np.unique(held.attributes["label"], return_counts=True), strict=True):
        assert abs(count - (train.attributes["label"] == label).sum() / 9) < 1, label
    assert set(train.attributes["label"]) == set("0123456789")
    assert (train.report.read, train.report.near_duplicates) == (10_000, 0)
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


@pytest.mark.parametrize("table", ["", "\n", "hair\nred\n", "file\n", "\0\0", "a,b\n1\n", "file,x\nz.png,1\n"])
def test_a_table_that_names_no_files_is_refused_with_a_sentence(tmp_path, table):
    archive = make_zip(tmp_path / "set.zip", **{"a.png": png(), "attributes.csv": table})
    with pytest.raises(BadInput, match=r"no row for a\.png"):
        from_files(archive, **FORM)


GOOD = "file,smile,hair,Größe\n0.png,1,grün,1.5\n1.png,0,blond,2.5\n2.png,1,rot,3\n"


@pytest.mark.parametrize(
    "table",
    [
        GOOD.encode("utf-8-sig"),
        GOOD.encode("cp1252"),
        GOOD.encode("utf-16"),
        GOOD.replace(",", ";").replace(".5", ",5").encode(),
        GOOD.replace(",", "\t").encode("utf-16"),
        GOOD.replace(",", ", ").encode(),
        GOOD.replace("\n", "\r").encode(),
        ("\n" + GOOD.replace("\n", "\r\n")).encode(),
        GOOD.replace("file", "Filename").encode(),
        GOOD.replace("file", "Image").replace("0.png", "pictures\\0.png").replace("1.png", "./1.png").encode(),
        GOOD.replace("file", "").encode(),  # pandas, where the index are the files
        "\n".join(f"{i},{line}" for i, line in enumerate(GOOD.split("\n"))).replace("0,file", ",file").encode(),
        "\n".join(f"{i},{line}" for i, line in enumerate(GOOD.split("\n")))
        .replace("0,file", "Unnamed: 0,file")
        .encode(),
        (GOOD + "9.png,1,x,4\n").encode(),
    ],
)
def test_a_table_is_read_as_people_s_programs_write_it(tmp_path, table):
    source = make_folder(tmp_path / "set", {**{f"{i}.png": noise(i) for i in range(3)}, "Attributes.CSV": table})
    found = from_files(source, **FORM).attributes
    assert list(found) == ["smile", "hair", "Größe"]
    assert found["smile"].tolist() == [1, 0, 1]
    assert found["hair"].tolist() == ["grün", "blond", "rot"]
    assert found["Größe"].tolist() == [1.5, 2.5, 3]


def test_what_a_column_holds_decides_what_it_is(tmp_path):
    columns = {
        "glasses": ["yes", "No", "", "yes"], "true": ["True", "FALSE", "true", "n/a"], "kind": ["0", "9", "4", ""],
        "wide": ["1e300", "2", "inf", "3.5"], "who": ["a", "NA", "", "c"], "two": ["0", "1", "1", ""],
    }  # fmt: skip
    rows = [",".join(row) for row in zip(*columns.values(), strict=True)]
    table = "\n".join(["file," + ",".join(columns), *(f"{i}.png,{row}" for i, row in enumerate(rows))])
    pictures = {f"{i}.png": png() for i in range(4)}
    found = from_files(make_zip(tmp_path / "set.zip", **pictures, **{"attributes.csv": table}), **FORM).attributes
    np.testing.assert_equal(found["glasses"], [1, 0, np.nan, 1])
    np.testing.assert_equal(found["true"], [1, 0, 1, np.nan])
    assert found["kind"].tolist() == ["0", "9", "4", ""]
    np.testing.assert_equal(found["wide"], [np.nan, 2, np.nan, 3.5])
    assert found["who"].tolist() == ["a", "NA", "", "c"]
    np.testing.assert_equal(found["two"], [0, 1, 1, np.nan])


def test_a_row_belongs_to_the_picture_that_its_path_names(tmp_path):
    pictures = {name: noise(i) for i, name in enumerate(["s/a/1.png", "s/a/2.png", "s/b/1.png"])}
    table = "file,x\na\\1.png,1\n2.png,2\nc/2.png,9\n1.png,9\n"  # whose 1.png? none can say
    archive = make_zip(tmp_path / "set.zip", **pictures, **{"s/attributes.csv": table})
    found = from_files(archive, **FORM)
    np.testing.assert_equal(found.attributes["x"], [1, 2, np.nan])
    assert (found.report.without_row, found.report.without_picture) == (1, 2)
    assert any("1 pictures have no row, 2 rows have no picture" in line for line in told(found.report))


# ---- What is held out ----


def by_hash(names: list[str], count: int) -> set[str]:
    return set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count])


@pytest.mark.parametrize("count", [2, 5, 10, 14, 16, 1234])
def test_without_labels_the_tenth_with_the_smallest_hashes_is_held_out(count):
    names = [f"{i:05d}.webp" for i in range(count)]
    held = held_out(names)
    assert {name for name, is_held in zip(names, held, strict=True) if is_held} == by_hash(
        names, max(1, round(count / 10))
    )
    shuffled = np.random.default_rng(0).permutation(count)
    assert np.array_equal(held_out([names[i] for i in shuffled]), held[shuffled])


def test_a_name_is_the_same_however_a_computer_writes_it():
    names = [f"Münze\\ä{i}.png" for i in range(40)]
    elsewhere = [unicodedata.normalize("NFD", name).replace("\\", "/") for name in names]
    assert np.array_equal(held_out(names), held_out(elsewhere))


def test_ten_classes_are_in_both_parts_and_become_labels(tmp_path):
    classes = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay"]
    files = {f"{kind}/{i:03}.png": noise(120 * n + i) for n, kind in enumerate(classes) for i in range(20)}
    train, held = sets.load("animals", make_folder(tmp_path / "animals", files), **FORM)
    for kind in classes:
        assert (train.attributes["label"] == kind).sum() == 18
        assert (held.attributes["label"] == kind).sum() == 2
    assert not set(train.names) & set(held.names)
    assert train.report.labels == dict.fromkeys(classes, 20)
    assert held.report.held_out == 20


@pytest.mark.parametrize("sizes", [[5] * 3, [4, 4, 4], [1] * 30, [2], [1, 1], [7, 3, 1], [100, 5]])
def test_every_label_of_five_or_more_is_in_both_parts(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes).astype(str)
    held = held_out([f"{i}" for i in range(len(labels))], labels)
    assert 1 <= held.sum() < len(labels)
    for label, size in enumerate(sizes):
        assert size < 5 or 0 < held[labels == str(label)].sum() <= max(1, round(size / 10))


def test_copies_stand_on_one_side():
    dice = np.random.default_rng(0)
    groups = dice.permutation(np.concatenate([np.repeat(np.arange(100), 3), np.arange(100, 300)]))
    names, labels = [f"{i}.png" for i in range(500)], np.arange(500) % 4
    for kinds in (None, labels):
        held = held_out(names, kinds, groups)
        assert 40 <= held.sum() <= 60
        for group in range(300):
            assert len(set(held[groups == group])) == 1


def test_a_label_that_is_nothing_but_copies_is_still_in_both_parts():
    labels = np.repeat(["a", "b", "c"], [6, 100, 100])
    groups = np.where(labels == "a", 0, np.arange(206))
    held = held_out([str(i) for i in range(206)], labels, groups)
    assert held[labels == "a"].sum() == 1


@pytest.mark.parametrize(("copies", "held"), [([9, 4, 7], 4), ([4, 6], 4), ([5, 5], 1), ([6], 1), ([1, 9], 1)])
def test_of_a_label_full_of_copies_the_smallest_group_goes_unless_it_is_half(copies, held):
    labels = np.repeat(["rare", "common"], [sum(copies), 480])
    groups = np.append(np.repeat(np.arange(len(copies)), copies), np.arange(100, 580))
    for salt in range(5):
        found = held_out([f"{salt}-{i}" for i in range(len(labels))], labels, groups)
        assert found[labels == "rare"].sum() == held
        assert held == 1 or all(len(set(found[groups == group])) == 1 for group in range(len(copies)))
        assert found[labels == "common"].sum() == 48


def test_labels_too_small_to_divide_are_taken_together():
    names = [f"{i}" for i in range(104)]
    assert held_out(names[:30], np.arange(30)).sum() == 3
    first = names.index(*by_hash(names, 1))
    labels = np.full(104, "many")
    labels[[first, *[row for row in range(10) if row != first][:3]]] = "few"
    held = held_out(names, labels)
    assert (held[labels == "many"].sum(), held[labels == "few"].sum()) == (10, 0)  # a tenth of four is none
    assert held_out(["alone"]).tolist() == [False] and held_out([]).tolist() == []
    assert held_out(["\udce4.png", "b.png"]).sum() == 1  # a name in no known encoding


@pytest.mark.parametrize(
    ("count", "size", "is_kind"), [(40, 5, True), (50, 5, False), (39, 4, False), (500, 16, False)]
)
def test_a_group_of_more_than_a_tenth_is_a_kind_if_it_can_be_divided(count, size, is_kind):
    groups = np.append(np.zeros(size, int), np.arange(1, count - size + 1))
    found = [held_out([f"{salt}-{i}" for i in range(count)], groups=groups)[:size].sum() for salt in range(30)]
    assert set(found) == ({1} if is_kind else {0, size})


def test_a_large_group_is_a_kind_and_is_learnt():
    groups = np.repeat(np.arange(6), 10)  # sixty crops of six subjects
    held = held_out([f"crop{i}.png" for i in range(60)], groups=groups)
    assert [held[groups == group].sum() for group in range(6)] == [1] * 6
    groups, labels = np.append(np.zeros(40, int), np.arange(1, 61)), np.arange(100) % 2
    for salt in range(10):  # and beside labels, which it goes across
        held = held_out([f"{salt}-{i}" for i in range(100)], labels, groups)
        assert held.sum() == 10 and held[:40].any() and held[40:].any()


def test_sixty_crops_of_six_subjects_are_all_learnt(tmp_path):
    subjects = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
    for n in range(60):
        crop = subjects[n % 6] + n // 6
        Image.fromarray(np.clip(crop, 0, 255).astype(np.uint8)).save(tmp_path / f"{n:02}.png")
    train, held = sets.load("crops", tmp_path, size=32, channels=3)
    assert {int(name[:2]) % 6 for name in train.names} == set(range(6)) == {int(name[:2]) % 6 for name in held.names}


def test_groups_are_the_connected_parts_of_all_pairs_closer_than_the_bound():
    dice = np.random.default_rng(0)
    base = dice.integers(40, 200, (40, 24, 20, 3))
    pictures = np.concatenate([base, base[:30] + dice.integers(-9, 10, (30, 1, 1, 3)), base[:20] + 7, base[:5] + 14])
    pictures = dice.permutation(pictures).astype(np.uint8)
    thumbnails = np.stack([  # a second way: an area's mean is an integral, here of pixels repeated to a common multiple
        picture.repeat(8, axis=0).repeat(8, axis=1).reshape(8, 24, 8, 20, 3).mean(axis=(1, 3)) / 255 for picture in pictures
    ])  # fmt: skip
    distance = np.sqrt(np.square(thumbnails[:, None] - thumbnails[None]).mean(axis=(2, 3, 4)))
    count, expected = connected_components(distance < 0.03)
    found = near_duplicates(pictures)
    assert 40 <= count < 60
    assert len(set(zip(found, expected, strict=True))) == len(set(found)) == count


def test_thousands_alike_are_one_group():
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8)
    pictures = np.concatenate([np.repeat(picture, 3000, axis=0), 255 - picture])
    pictures[:1500, 0, 0] ^= 3
    assert np.bincount(near_duplicates(pictures)).tolist() in ([3000, 1], [1, 3000])
    assert near_duplicates(pictures[:1]).tolist() == [0]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_few_pictures_even_all_alike_are_divided(tmp_path, count):
    make_folder(tmp_path, {f"{i}.png": png() for i in range(count)})
    train, held = sets.load("few", tmp_path, **FORM)
    assert (len(train), len(held)) == (count - 1, 1)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "a.png").write_bytes(png())
    with pytest.raises(BadInput, match="One picture is not enough"):
        sets.load("alone", tmp_path, **FORM)


def test_older_models_held_out_the_first_tenth_by_name(tmp_path):
    for i in range(20):
        (tmp_path / f"{i:02}.png").write_bytes(png((i, i, i)))
    train, held = sets.load("mine", tmp_path, **FORM, split="first tenth")
    assert held.names == ["00.png", "01.png"]
    assert train.names == [f"{i:02}.png" for i in range(2, 20)]
    assert np.array_equal(train.images[:, 0, 0, 0], np.arange(2, 20))
    with pytest.raises(BadInput, match="'random' is unknown; it is one of hash, first tenth"):
        sets.load("mine", tmp_path, **FORM, split="random")


def test_older_models_held_out_a_tenth_and_never_none():
    for count, held in [(2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (105, 10)]:
        whole = data.Pictures(np.zeros((count, 8, 8, 1), np.uint8), [f"{i:03}" for i in range(count)])
        train, rest = sets.divided(whole, "first tenth")
        assert rest.names == whole.names[:held] and train.names == whole.names[held:]
        assert train.report.held_out == held


def test_a_report_says_in_sentences_what_happened(tmp_path):
    files = {f"{kind}/{i:02}.png": noise(40 * n + i) for n, kind in enumerate(["ant", "bee"]) for i in range(20)}
    files |= {"ant/copy.png": files["ant/00.png"], "bee/broken.png": b"no picture"}
    files["attributes.csv"] = b"file,x\nant/00.png,1\nant/01.png,0\ngone.png,1\n"
    train, held = sets.load("animals", make_folder(tmp_path / "animals", files), **FORM)
    assert train.report == held.report
    assert told(train.report) == [
        "41 pictures read; shorter sides from 16 to 16 pixels, the median 16.",
        f"Left out: {train.report.skipped[0][0]}: {train.report.skipped[0][1]}",
        "attributes.csv: 39 pictures have no row, 1 rows have no picture.",
        "Labels: ant 21, bee 20.",
        "1 are nearly the same as another picture.",
        f"{len(held)} are held out to measure on, {len(train)} are learnt from.",
    ]
    assert train.report.skipped[0][0].endswith("bee/broken.png")


def test_a_report_leaves_out_what_did_not_happen_and_is_never_long():
    assert told(data.Report(1234, held_out=200)) == [
        "1,234 pictures read.",
        "200 are held out to measure on, 1,034 are learnt from.",
    ]
    many = told(data.Report(
        50, tuple(("x" * 500 + f"{i:03}", "broken") for i in range(SHOWN + 2)),
        labels={f"kind {i}": 1 for i in range(SHOWN)} | {"": 3}, without_picture=2,
    ))  # fmt: skip
    assert sum(line.endswith(": broken") for line in many) == SHOWN
    assert "Left out: 2 more." in many
    assert max(map(len, many)) < 200
    (labels,) = (line for line in many if line.startswith("Labels"))
    assert labels.endswith(f"kind {SHOWN - 1} 1, ....")
    exact = told(data.Report(50, (("a.png", "broken"),) * SHOWN, labels={"": 3, "b": 1}))
    assert "Labels: (none) 3, b 1." in exact
    assert not any("more" in line for line in exact)
    assert "attributes.csv: 0 pictures have no row, 2 rows have no picture." in many
    assert not any("attributes.csv" in line for line in exact)


def test_digits_that_do_not_come_with_the_package_are_missed_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "EMBEDDED", tmp_path / "gone.npz")
    with pytest.raises(BadInput, match="comes with a checkout"):
        sets.load("digits-small", tmp_path, size=28, channels=1)


# ---- Where a set lies ----


def idx(array: np.ndarray) -> bytes:
    """As the digits' makers write an array of bytes (http://yann.lecun.com/exdb/mnist)."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("name", "folder", "words"),
    [("digits", "torchvision/MNIST", ["1", "9"]), ("fashion", "FashionMNIST", ["Trouser", "Ankle boot"])],
)
def test_the_official_test_pictures_are_held_out(tmp_path, monkeypatch, name, folder, words):
    dice = np.random.default_rng(0)
    images = {"train": dice.integers(0, 256, (20, 28, 28)), "t10k": dice.integers(0, 256, (7, 28, 28))}
    for part, array in images.items():
        make_folder(tmp_path / folder / "raw", {
            f"{part}-images-idx3-ubyte": idx(array), f"{part}-labels-idx1-ubyte": idx(np.arange(len(array)) % 2 * 8 + 1),
        })  # fmt: skip
    monkeypatch.setenv("VAE_DATA", str(tmp_path))
    for parts in (sets.load(name, tmp_path, size=28, channels=1), sets.load(name, size=28, channels=1)):
        for part, array in zip(parts, images.values(), strict=True):
            assert np.array_equal(part.images, array[..., None])
            assert part.attributes["label"].tolist() == [words[i % 2] for i in range(len(array))]
            assert part.names[:2] == ["00000", "00001"]
            assert (part.report.read, part.report.held_out) == (27, 7)
    for part, array in zip(sets.load(name, tmp_path, size=56, channels=3), images.values(), strict=True):
        assert part.images.shape == (len(part), 56, 56, 3)
        assert np.abs(part.images.mean(axis=(1, 2, 3)) - array.mean(axis=(1, 2))).max() < 4


def test_a_set_is_framed_as_the_recipe_says_and_portraits_are_framed_already(tmp_path, monkeypatch):
    """A dark shape in a corner: a garment is moved to the middle, a portrait stays where it is, and no face is looked for."""
    monkeypatch.delitem(framing.FRAMINGS, "portrait")
    canvas = Image.new("L", (64, 64), 255)
    canvas.paste(20, (2, 4, 22, 34))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    make_folder(tmp_path / "mine", {"a.png": out.getvalue(), "b.png": out.getvalue()})
    found = {
        name: sets.load("mine", tmp_path, size=32, channels=1, framing=name)[0].images[0, :, :, 0].astype(int)
        for name in ("square", "portrait", "garment")
    }
    assert np.array_equal(found["square"], found["portrait"])
    assert found["square"][20:, 20:].min() == found["square"].max()
    y, x = np.nonzero(np.abs(found["garment"] - found["garment"][0, 0]) > 60)
    assert abs(y.mean() - 15.5) < 2 and abs(x.mean() - 15.5) < 2


def test_a_set_is_found_by_its_name_in_the_root(tmp_path):
    make_zip(tmp_path / "mine.zip", **{f"{i}.png": png() for i in range(3)})
    make_folder(tmp_path / "other", {f"{i}.png": png() for i in range(4)})
    for name, root, count in [("mine", "", 3), ("anything", "mine.zip", 3), ("other", "", 4), ("faces", "other", 4)]:
        assert sum(map(len, sets.load(name, tmp_path / root, **FORM))) == count


def test_a_misspelt_set_is_never_everything_below_the_data_folder(tmp_path):
    root = make_folder(
        tmp_path / "data", {"scenes/a.png": png(), "scenes/b.png": png(), ".git/c.png": png(), "log.txt": b""}
    )
    make_zip(root / "faces.zip", **{"a.png": png(), "b.png": png()})
    with pytest.raises(BadInput, match=r"There is no set 'facez' in .*; there are faces, scenes, data\.$"):
        sets.load("facez", root, **FORM)
    (root / "stray.png").write_bytes(png())
    with pytest.raises(BadInput, match="no set 'facez'"):
        sets.load("facez", root, **FORM)


def test_a_folder_of_classes_is_a_set_by_its_own_name(tmp_path):
    root = make_folder(tmp_path / "animals", {f"{kind}/{i}.png": noise(i) for kind in ("cat", "dog") for i in range(2)})
    assert sum(map(len, sets.load("animals", root, **FORM))) == 4
    with pytest.raises(BadInput, match="no set 'faces' in .*; there are cat, dog, animals"):
        sets.load("faces", root, **FORM)


def test_places_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    for root in (tmp_path / ("x" * 300), tmp_path / "gone"):
        for name in ("mine", "y" * 300):
            with pytest.raises(BadInput) as caught:
                sets.load(name, root, **FORM)
            assert len(str(caught.value)) < 500
    with pytest.raises(BadInput):
        from_files(tmp_path / ("x" * 300), **FORM)
    make_folder(tmp_path, {"mine/a.png": png()})

    def refuse(path):  # as root, who runs this in a container, may read everything
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInput, match="cannot be read: Permission denied"):
        sets.load("mine", tmp_path, **FORM)


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"", bytes(5000)])
def test_a_login_page_in_place_of_the_digits_is_one_sentence(tmp_path, monkeypatch, content):
    from torchvision import datasets

    monkeypatch.setattr(datasets.MNIST, "mirrors", [])
    kinds = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    make_folder(tmp_path, {f"torchvision/MNIST/raw/{name}": content for name in kinds})
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BadInput, match="The set digits is not under"):
            sets.load("digits", root, size=28, channels=1)


# ---- What is read ----


def test_what_is_hidden_or_no_file_is_not_read(tmp_path):
    entries = {
        "0.png": png(), "a/1.png": png(), ".ipynb_checkpoints/0-checkpoint.png": png(), "a/.git/x.png": png(),
        "@eaDir/0.png/SYNOPHOTO_THUMB_XL.jpg": png(), "__MACOSX/._0.png": b"junk", "._0.png": b"junk", "album.png/9.png": png(),
    }  # fmt: skip
    source = make_folder(tmp_path / "set", entries)
    (source / "dead.png").symlink_to(source / "nowhere.png")
    (source / "loop").symlink_to(source)
    (source / "alive.png").symlink_to(source / "0.png")
    assert from_files(source, **FORM).names == ["0.png", "a/1.png", "alive.png"]
    assert from_files(make_zip(tmp_path / "set.zip", **entries), **FORM).names == ["0.png", "a/1.png"]


@pytest.mark.parametrize("pack", [make_folder, lambda path, entries: make_zip(path.with_suffix(".zip"), **entries)])
def test_few_unreadable_pictures_are_left_out_and_named(tmp_path, pack):
    good = {f"{i}.png": png(side=16 + i) for i in range(9)}
    bad = {"cut.jpg": b"\xff\xd8\xff", "page.jpg": b"<html>", "empty.png": b""}
    found = from_files(pack(tmp_path / "set", {**good, **bad}), **FORM)
    assert found.names == sorted(good)
    assert [name for name, reason in found.report.skipped] == sorted(bad)
    assert found.report.sides == (16, 20, 24)
    said = "\n".join(told(sets.divided(found)[0].report))
    assert all(name in said for name in bad)
    assert "9 pictures read; shorter sides from 16 to 24 pixels, the median 20." in said
    assert "1 are held out to measure on, 8 are learnt from." in said


@pytest.mark.parametrize(
    ("good", "bad", "is_read"), [(1, 1, True), (1, 2, False), (9, 6, False), (5, 5, True), (114, 6, True)]
)
def test_too_many_unreadable_pictures_are_refused(tmp_path, good, bad, is_read):
    entries = {**{f"{i}.png": png() for i in range(good)}, **{f"bad{i}.png": b"words" for i in range(bad)}}
    source = make_zip(tmp_path / "set.zip", **entries)
    if is_read:
        assert len(from_files(source, **FORM).report.skipped) == bad
    else:
        with pytest.raises(BadInput, match=r"bad0\.png: This file is no picture.* pictures cannot be read"):
            from_files(source, **FORM)


def test_names_in_zips_are_read_as_their_makers_wrote_them(tmp_path):
    names = ["Müller.png", "Žofie.png", "日本.png"]
    table = "file,x\n" + "".join(f"{name},{i / 4}\n" for i, name in enumerate(names))
    apart = [unicodedata.normalize("NFD", name) for name in names]
    archive = make_zip(
        tmp_path / "flag.zip", **{name: noise(i) for i, name in enumerate(apart)}, **{"attributes.csv": table}
    )
    plain = make_zip(
        tmp_path / "mac.zip",
        **{len(name.encode()) * chr(65 + i): noise(i) for i, name in enumerate(apart)},
        **{"attributes.csv": table},
    ).read_bytes()
    for i, name in enumerate(apart):  # as the Finder packs them: UTF-8 without the flag that says so
        plain = plain.replace(len(name.encode()) * chr(65 + i).encode(), name.encode())
    (tmp_path / "mac.zip").write_bytes(plain)
    for source in (archive, tmp_path / "mac.zip"):
        found = from_files(source, **FORM)
        assert dict(zip(found.names, found.attributes["x"], strict=True)) == {n: i / 4 for i, n in enumerate(names)}


def test_odd_but_honest_zips_are_read(tmp_path):
    drawing = io.BytesIO()
    Image.new("RGB", (512, 512), "white").save(drawing, "BMP")  # shrinks a thousandfold
    entries = {f"p\\{i}.bmp": drawing.getvalue() for i in range(3)}
    entries |= {
        "2024-05-01 12:30:00.bmp": drawing.getvalue(),
        "log.txt": b"0" * 40_000_000,
        "./a..b.bmp": drawing.getvalue(),
    }
    found = from_files(make_zip(tmp_path / "set.zip", **entries), **FORM)
    assert found.names == ["2024-05-01 12:30:00.bmp", "a..b.bmp", "p/0.bmp", "p/1.bmp", "p/2.bmp"]


def test_a_zip_that_would_unpack_without_end_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(100):
            archive.writestr(f"{i}.png", noise(0))
            archive.filelist[-1].file_size = 29 * 2**20  # as the directory at its end would say of an honest bomb
    with pytest.raises(BadInput, match="would unpack to 3,040,870,400 bytes: too much"):
        from_files(tmp_path / "bomb.zip", **FORM)
    make_zip(tmp_path / "table.zip", **{"a.png": png(), "attributes.csv": b"\0" * (folders.MAX_FILE_BYTES + 1)})
    with pytest.raises(BadInput, match=r"attributes\.csv: .* too much"):
        from_files(tmp_path / "table.zip", **FORM)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"readme.txt": "hello"}, "no pictures"),
        ({}, "no pictures"),
        ({"../a.png": png()}, "climbs out"),
        ({"/etc/a.png": png()}, "climbs out"),
        ({"x\\..\\..\\a.png": png()}, "climbs out"),
        ({"C:/a.png": png()}, "climbs out"),
        ({"a.png": b"\0" * 32_000_000}, "too much"),
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


def test_a_few_pictures_of_other_sets_come_from_all_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "OTHERS", 4)
    for shade, name in ((10, "dark"), (200, "light")):
        files = {f"{i:02d}.png": png((shade + i,) * 3) for i in range(13)}
        make_zip(tmp_path / f"{name}.zip", **files)
    found = sets.others("light, dark", tmp_path, size=8, channels=1)
    assert found.shape == (8, 8, 8, 1)
    assert found[:, 0, 0, 0].tolist() == [200, 203, 206, 209, 10, 13, 16, 19]
    assert sets.others("", tmp_path, size=8, channels=3).shape == (0, 8, 8, 3)
    with pytest.raises(BadInput, match="no set 'lost'"):
        sets.others("dark, lost", tmp_path, size=8, channels=1)


def test_missing_and_empty_places_are_named(tmp_path):
    with pytest.raises(BadInput, match="nothing at"):
        from_files(tmp_path / "gone.zip", **FORM)
    with pytest.raises(BadInput, match="no pictures"):
        from_files(tmp_path, **FORM)
    with pytest.raises(BadInput, match="No pictures at"):
        sets.load("mine", tmp_path, **FORM)
