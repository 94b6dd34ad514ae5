"""What the Sample and Morph tabs' handlers answer, and what they refuse: the API has no sliders."""

import base64
import dataclasses
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ui import looks, morph, sample, shelf
from ui.words import say
from vae.atlas import Atlas
from vae.errors import BadInput
from vae.measure.novelty import Sketch
from vae.measure.verdicts import Verdict
from vae.model import VAE, VAEConfig
from vae.pictures import images
from vae.pictures.framing import Form, frame
from vae.priors import Mixture
from vae.storage import atlases

FIRST = ("tiny", 4, 7, 0.8, "mixture")
NO_NUMBERS = (None, "5", float("nan"), float("inf"), -1, 2.5, [], {}, 10**30)


def strokes(count: int) -> np.ndarray:
    """Slanted bars: something that survives the framing of digits."""
    pictures = np.zeros((count, 28, 28, 1), np.uint8)
    for number, picture in enumerate(pictures):
        for row in range(4, 24):
            column = 6 + (row * (number % 7)) // 12
            picture[row, column : column + 3] = 255
    return pictures


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    config = VAEConfig(size=28, channels=1, latent=3, widths=(8,), stem=4, likelihood="bernoulli")
    VAE(config).save_pretrained(folder / "tiny")
    (folder / "tiny" / "recipe.toml").write_text('data = "digits"\nsteps = 1\nframing = "digit"')
    atlas = Atlas(
        kl=torch.ones(3), mean=torch.zeros(3), covariance=torch.eye(3), directions=torch.eye(3), spreads=torch.ones(3), named=(),
        mixture=Mixture(torch.ones(1), torch.ones(1, 3), torch.eye(3)[None]), examples=strokes(5), familiar_error=0.1,
        likelihoods=torch.zeros(101),
    )  # fmt: skip
    atlases.save(atlas, folder / "tiny")
    return folder


@pytest.fixture(autouse=True)
def tiny(root, monkeypatch, tmp_path):
    """The shelf with one tiny model; files to take home go where they are swept up."""
    monkeypatch.setenv("VAE_CHECKPOINTS", str(root))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    shelf._open.clear()
    yield shelf.get("tiny")
    shelf._open.clear()


def pixels(url: str) -> np.ndarray:
    return images.load(base64.b64decode(url.partition(",")[2]))


def look_alike(one: str, other: str) -> bool:
    """Whether two URLs show the same picture; decoded in batches of other sizes, pixels may be one level off."""
    return np.abs(pixels(one).astype(int) - pixels(other)).mean() < 1


def drawn(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


# Sample


def test_the_same_seed_throws_the_same_pictures_and_another_one_does_not():
    shown, thrown = sample.throw(*FIRST)
    assert len(shown["pictures"]) == len(thrown["latents"]) == 4
    assert sample.throw(*FIRST) == (shown, thrown)
    assert sample.throw("tiny", 4, 8, 0.8, "mixture")[1]["latents"] != thrown["latents"]


def test_one_picture_and_sixty_four_can_be_thrown():
    for count in (1, 64):
        assert len(sample.throw("tiny", count, 1, 1.0, "normal")[0]["pictures"]) == count


def test_the_bell_curve_at_temperature_0_is_the_origin():
    _, thrown = sample.throw("tiny", 2, 1, 0, "normal")
    assert not np.any(thrown["latents"])


def test_throwing_again_tells_the_seed_that_repeats_it():
    seed, shown, thrown = sample.throw_again("tiny", 3, 5, 0.8, "mixture")
    assert (shown, thrown) == sample.throw("tiny", 3, seed, 0.8, "mixture")


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 65])
def test_a_count_out_of_range_is_refused(value):
    with pytest.raises(BadInput, match="Keep the best"):
        sample.throw("tiny", value, 1, 0.8, "mixture")


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_seed_that_is_none_is_refused(value):
    with pytest.raises(BadInput, match="Seed"):
        sample.throw("tiny", 4, value, 0.8, "mixture")


@pytest.mark.parametrize("value", [None, "1", float("nan"), -0.1, 1.51, float("inf"), []])
def test_a_temperature_out_of_range_is_refused(value):
    with pytest.raises(BadInput, match="temperature"):
        sample.throw("tiny", 4, 1, value, "mixture")


@pytest.mark.parametrize("value", [None, "hat", 3, [["hat"]], [None], {"hat": 1}, ["hat"], ["x"] * 10_000])
def test_strange_traits_are_refused(value):
    with pytest.raises(BadInput):
        sample.throw("tiny", 4, 1, 0.8, "mixture", "drawn", value)


@pytest.mark.parametrize("value", [None, "", "flow", 3, [], "x" * 10_000])
def test_an_unknown_prior_is_refused_in_a_short_sentence(value):
    with pytest.raises(BadInput, match="prior") as refused:
        sample.throw("tiny", 4, 1, 0.8, value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("look", [look for look in sample.LOOKS if look != sample.AS_DRAWN])
def test_a_look_changes_the_pictures_and_their_size_not_the_latents(look):
    plain, thrown = sample.throw("tiny", 2, 1, 0.8, "mixture")
    shown, finished = sample.throw("tiny", 2, 1, 0.8, "mixture", look)
    assert finished["latents"] == thrown["latents"]
    small, large = (images.from_data_url(which["pictures"][0]) for which in (plain, shown))
    assert large.shape[0] == looks.FINISH_SCALE * small.shape[0]
    with zipfile.ZipFile(sample.keep(finished)) as archive:
        assert Image.open(archive.open("00.png")).size == (large.shape[1], large.shape[0])


@pytest.mark.parametrize("value", ["sparkling", None, 3, "plain"])
def test_an_unknown_look_is_said(value):
    with pytest.raises(BadInput, match="polished"):
        sample.throw("tiny", 4, 1, 0.8, "mixture", value)


@pytest.mark.parametrize("value", ["nobody", "../tiny", "", None, 5, []])
def test_an_unknown_model_is_refused(value):
    with pytest.raises(BadInput):
        sample.throw(value, 4, 1, 0.8, "mixture")
    with pytest.raises(BadInput):
        morph.start(value)


def asked(count: int, draw: int, difference: float = 0.0, prior: str = "mixture", around: list | None = None) -> tuple:
    return ("tiny", count, 7, 0.8, prior, "drawn", (), draw, difference, 0.3, around)


def test_of_many_the_best_are_shown_and_all_others_can_be_looked_at(tiny):
    shown, thrown = sample.throw(*asked(10, 100))
    assert (len(shown["pictures"]), shown["title"]) == (10, "The best 10 of 100 throws")
    seen, at = list(thrown["latents"]), 0
    while True:
        ways = dict(shown["ways"])
        at = next((index for label, index in ways.items() if index >= 0), None)
        if at is None:
            break
        shown, thrown = sample.look_at(thrown, "tiny", at)
        assert len(shown["pictures"]) == len(thrown["latents"]) <= 64
        seen += thrown["latents"]
    wanted = tiny.atlas.prior("mixture", 100, 7, 0.8).tolist()
    assert sorted(seen) == sorted(wanted)
    realism = tiny.atlas.realism(torch.tensor(seen))
    assert realism[:10].min() >= realism[10:].max()
    assert sample.look_at(thrown, "tiny", -1) == sample.throw(*asked(10, 100))


def test_where_no_more_are_drawn_than_kept_nothing_is_left_out():
    shown, thrown = sample.throw(*asked(12, 12))
    assert (shown["title"], shown["ways"]) == ("12 throws", [])
    assert sample.throw(*asked(12, 3))[1]["latents"] == thrown["latents"]


@pytest.mark.parametrize("index", [90, 10**30, -2, 0.0, None, "0", True, float("nan")])
def test_what_was_not_left_out_cannot_be_looked_at(index):
    with pytest.raises(BadInput, match="left out"):
        sample.look_at(sample.throw(*asked(10, 100))[1], "tiny", index)
    with pytest.raises(BadInput, match="the model before"):
        sample.look_at(sample.throw(*asked(10, 100))[1], "another", 0)


@pytest.mark.parametrize(
    "draw, difference", [(0, 0.5), (1025, 0.5), ("9", 0.5), (9.5, 0.5), (99, -0.1), (99, 1.1), (99, None)]
)
def test_how_many_and_how_different_out_of_range_are_refused(draw, difference):
    with pytest.raises(BadInput, match="Draw|How different"):
        sample.throw(*asked(4, draw, difference))


def test_more_like_one_lie_near_it_and_another_prior_leaves_it():
    _, thrown = sample.throw(*asked(8, 8))
    chips, latent, shown, near = sample.go_near(thrown, "tiny", 5)
    assert chips.value == sample.NEAR and latent == thrown["latents"][5]
    assert (shown, near) == sample.throw(*asked(8, 8, prior=sample.NEAR, around=latent))
    away = [np.linalg.norm(np.subtract(which["latents"], latent), axis=1).mean() for which in (near, thrown)]
    assert away[0] < 0.7 * away[1]
    with pytest.raises(BadInput, match="no picture to be near"):
        sample.throw(*asked(8, 8, prior=sample.NEAR))
    with pytest.raises(BadInput):
        sample.throw(*asked(8, 8, prior=sample.NEAR, around=[float("nan")] * 3))
    _, chips, around, _, again = sample.open_model(*asked(8, 8, prior=sample.NEAR, around=latent))
    assert (chips.value, around, again) == ("mixture", None, thrown)


def test_a_picture_that_it_learnt_from_is_called_a_copy_and_another_is_not(tiny, monkeypatch):
    """Three latents are known, of which the throw has two; held-out ones were half a step and more away from any."""
    known = tiny.atlas.prior("mixture", 2, 7, 0.8)
    points = tiny.atlas.coordinates(torch.cat([known, torch.full((1, 3), 9.0)]))
    scale = torch.full((3,), float(points.abs().max()) / 127)
    rows = (points / scale).round().to(torch.int8)
    sketch = Sketch(rows, scale, torch.linspace(0.2, 5, 101), 40)
    monkeypatch.setitem(shelf._open, "tiny", dataclasses.replace(tiny, sketch=sketch))
    shown, thrown = sample.throw(*asked(6, 6))
    assert [text.startswith("Nearly a copy") for text in shown["news"]] == [True, True, *[False] * 4]
    away = (torch.tensor(thrown["latents"][3]) - known).norm(dim=1).min()
    told = re.search(r"than (\d+) % of pictures it never saw. .*3 of the 40 pictures", shown["news"][3])
    assert int(told[1]) == pytest.approx(100 * float(away - 0.2) / 4.8, abs=2)
    monkeypatch.setitem(shelf._open, "tiny", tiny)
    assert sample.throw(*asked(6, 6))[0]["news"] == []


def test_a_seed_that_lies_there_already_throws_nothing_new():
    _, thrown = sample.throw(*FIRST)
    assert all("pictures" not in part for part in sample.throw_seed(thrown, *FIRST))
    again, _ = sample.throw_seed(thrown, *FIRST[:2], FIRST[2] + 1, *FIRST[3:])
    assert len(again["pictures"]) == FIRST[1]


def test_a_picked_picture_goes_on_as_its_latent():
    _, thrown = sample.throw(*FIRST)
    latent, tabs = sample.send(thrown, FIRST[0], 2, "explore")
    assert latent == thrown["latents"][2]
    assert tabs.selected == "explore"


@pytest.mark.parametrize("index", [-1, 4, None, "0", 1.0, float("nan"), []])
def test_a_picture_that_was_not_thrown_cannot_be_picked(index):
    with pytest.raises(BadInput, match="picture number"):
        sample.send(sample.throw(*FIRST)[1], FIRST[0], index, "morph")


def test_a_picture_of_another_model_is_not_taken_for_one_of_this():
    with pytest.raises(BadInput, match="the model before"):
        sample.send(sample.throw(*FIRST)[1], "another", 0, "explore")


def test_the_download_holds_every_picture_as_it_was_decoded(tiny):
    _, thrown = sample.throw(*FIRST)
    with zipfile.ZipFile(sample.keep(thrown)) as archive:
        found = [np.asarray(Image.open(archive.open(name)))[..., None] for name in sorted(archive.namelist())]
    assert np.array_equal(found, tiny.decode(thrown["latents"]))


# Morph


def test_the_tab_starts_with_two_examples_as_given_and_as_seen(tiny):
    a, view_a, b, view_b = morph.start("tiny")
    assert a != b
    assert (
        np.abs(pixels(view_a["given"])[..., :1].astype(int) - tiny.atlas.examples[0]).mean() < 8
    )  # JPEG loses a little
    assert len(view_b["examples"]) == len(tiny.atlas.examples)
    assert view_a["draws"]


@pytest.mark.parametrize("path", ["line", "arc"])
@pytest.mark.parametrize("steps", [2, 9, 33])
def test_a_film_runs_from_a_to_b(steps, path):
    a, view_a, b, view_b = morph.start("tiny")
    frames = morph.film("tiny", a, b, steps, path)["frames"]
    assert len(frames) == steps
    assert look_alike(frames[0], view_a["seen"])
    assert look_alike(frames[-1], view_b["seen"])


@pytest.mark.parametrize("steps", [*NO_NUMBERS, 0, 1, 34])
def test_steps_out_of_range_are_refused(steps):
    a, _, b, _ = morph.start("tiny")
    with pytest.raises(BadInput, match="Steps"):
        morph.film("tiny", a, b, steps, "line")


@pytest.mark.parametrize("path", [None, "", "spiral", 3, "x" * 10_000])
def test_an_unknown_way_is_refused(path):
    a, _, b, _ = morph.start("tiny")
    with pytest.raises(BadInput, match="way"):
        morph.film("tiny", a, b, 5, path)


@pytest.mark.parametrize("index", [-1, 1000, None, "0", 1.5, []])
def test_an_example_that_is_not_there_is_refused(index):
    with pytest.raises(BadInput, match="example"):
        morph.example("tiny", index)


def test_the_gif_goes_there_and_back():
    a, _, b, _ = morph.start("tiny")
    with Image.open(morph.keep("tiny", a, b, 9, "arc")) as film:
        assert film.format == "GIF"
        assert film.n_frames == 16


def test_an_upload_is_brought_to_the_models_form_and_gone_afterwards(tmp_path):
    file = tmp_path / "seven.jpg"
    page = Image.new("RGB", (600, 400), "white")
    page.paste("black", (290, 60, 320, 340))
    page.save(file)
    z, view = morph._on_upload("tiny", str(file))
    assert len(z) == 3
    assert pixels(view["given"]).shape == (28, 28, 3)
    assert pixels(view["given"]).mean() < 128  # light on black, as the model's own
    assert not file.exists()


def test_a_file_that_is_no_picture_is_refused_and_gone_afterwards(tmp_path):
    file = tmp_path / "text.png"
    file.write_text("no picture")
    with pytest.raises(BadInput, match="no picture"):
        morph._on_upload("tiny", str(file))
    assert not file.exists()


@pytest.mark.parametrize("file", [None, "", "/nowhere/a.png", 3, ["a.png"]])
def test_an_upload_without_a_file_is_refused(file):
    with pytest.raises(BadInput):
        morph.upload("tiny", file)


@pytest.fixture
def portraits(tiny, monkeypatch):
    """The tiny model, as if it were one of portraits."""
    monkeypatch.setattr(type(tiny), "form", Form("portrait", 28, 1))


def test_an_upload_without_a_face_says_so_as_explore_does_and_its_eyes_can_be_set(portraits, tmp_path):
    scene = np.zeros((300, 400, 3), np.uint8)
    scene[:, :, 2] = np.linspace(60, 220, 300)[:, None]
    (tmp_path / "scene.png").write_bytes(images.encode(scene))
    before, view = morph.upload("tiny", str(tmp_path / "scene.png"))
    assert say("explore.face_none") in view["note"] or say("explore.face_absent") in view["note"]
    assert images.from_data_url(view["photo"]).shape == scene.shape
    portrait = {"photo": view["photo"], "eyes": [[0.3, 0.4], [0.5, 0.4]], "turn": 0.0}
    after, mended = morph.eyes("tiny", portrait)
    assert "face" not in mended["note"] and portrait.items() <= mended.items()
    expected = frame(images.from_data_url(view["photo"]), Form("portrait", 28, 1), [[120, 120], [200, 120]]).picture
    assert np.abs(pixels(mended["given"])[..., :1].astype(int) - expected).mean() < 6
    assert before != after


@pytest.mark.parametrize("name", ["photo", "eyes", "turn"])
@pytest.mark.parametrize("value", [None, "", 5, [], [[0.1, 0.1]], [[0.2, 0.2]] * 2, float("nan"), 10**400])
def test_strange_eyes_are_refused(portraits, name, value):
    portrait = {
        "photo": images.data_url(np.full((60, 80, 3), 90, np.uint8)), "eyes": [[0.3, 0.4], [0.5, 0.4]], "turn": 0.0
    }  # fmt: skip
    with pytest.raises(BadInput):
        morph.eyes("tiny", portrait | {name: value})


def test_what_the_model_never_saw_is_answered_with_a_sentence(monkeypatch, tiny):
    monkeypatch.setattr(type(tiny), "verdict", lambda self, pictures: Verdict(torch.zeros(1), ["critic"]))
    assert morph.example("tiny", 0)[1]["note"]
    monkeypatch.setattr(type(tiny), "verdict", lambda self, pictures: Verdict(torch.ones(1), ["critic"]))
    assert not morph.example("tiny", 0)[1]["note"]


def test_a_drawing_is_a_side_like_any_other():
    sheet = Image.new("RGB", (280, 280), "black")
    sheet.paste("white", (130, 40, 152, 240))
    z, view = morph.drawing("tiny", drawn(sheet))
    assert len(z) == 3
    assert pixels(view["given"]).max() > 200


@pytest.mark.parametrize(
    "png",
    [
        None, 5, [], "", "x", "data:image/png;base64,", "data:image/png;base64,!!!", "data:text/html;base64,AAAA",
        "data:image/png;base64,AAAA", "/etc/passwd", "data:image/png;base64," + "A" * 1_000_004,
        drawn(Image.new("RGB", (280, 280), "black")),
    ],
    ids=lambda png: str(png)[:40],
)  # fmt: skip
def test_what_is_no_drawing_or_an_empty_one_is_refused(png):
    with pytest.raises(BadInput):
        morph.drawing("tiny", png)


def test_a_picture_from_the_sample_tab_becomes_a_side_that_is_its_own_reconstruction():
    _, thrown = sample.throw(*FIRST)
    z, view = morph.picked("tiny", thrown["latents"][0])
    assert view["given"] == view["seen"]
    assert look_alike(view["given"], sample.throw(*FIRST)[0]["pictures"][0])
    assert z == thrown["latents"][0]
    assert Path(morph.keep("tiny", z, z, 2, "line")).is_file()
