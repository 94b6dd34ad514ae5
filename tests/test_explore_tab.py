"""What the Explore tab's server functions answer, also to strangers who send them whatever they like."""

import base64
import dataclasses
import json
import shutil
from pathlib import Path

import gradio.utils
import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.test_atlas import bare_atlas
from ui import explore, shelf
from vae import checkpoints
from vae.atlas import Named
from vae.errors import BadInput
from vae.model import VAE
from vae.pictures import faces, images
from vae.pictures.framing import Form, frame
from vae.storage import atlases

pytestmark = pytest.mark.skipif(not checkpoints.names(), reason=f"no checkpoint in {checkpoints.root()}")
FUNCTIONS = (
    explore.decode, explore.decode_many, explore.ends, explore.atlas, explore.training, explore.encode, explore.closer,
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def model_id() -> str:
    return shelf.default()


@pytest.fixture(scope="module")
def view(model_id: str) -> dict:
    return explore.view({"model": model_id})


@pytest.fixture
def uploads(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    folder = Path(gradio.utils.get_upload_folder())
    folder.mkdir()
    return folder


def test_what_opens_a_model_is_json_and_small(view):
    assert len(json.dumps(view, allow_nan=False)) < 150_000


def test_the_picture_that_comes_with_the_page_is_the_start_latents_own(model_id, view):
    assert explore.decode({"model": model_id, "z": view["start"]})["picture"] == view["picture"]


def test_knobs_read_and_move_as_the_atlas_says(model_id, view):
    knobs = {knob.key: knob for knob in shelf.get(model_id).atlas.knobs}
    assert len({knob["key"] for knob in view["knobs"]}) == len(view["knobs"])
    for sent in view["knobs"]:
        knob = knobs[sent["key"]]
        if "unit" in sent:
            assert knob.vector[sent["unit"]] == knob.vector.sum() == 1
        else:
            probe = sent.get("probe", np.array(sent["vector"]) / np.square(sent["vector"]).sum())
            assert np.dot(sent["vector"], probe) == pytest.approx(1, abs=1e-3)
            assert np.allclose(sent["vector"], knob.vector, rtol=1e-3)
            assert np.allclose(probe, knob.probe, rtol=1e-3, atol=1e-4)


def test_many_pictures_are_those_that_come_one_by_one(model_id, view):
    zs = [view["start"], [0] * len(view["start"])]
    many = explore.decode_many({"model": model_id, "zs": zs})["pictures"]
    for url, z in zip(many, zs, strict=True):
        alone = images.load(base64.b64decode(explore.decode({"model": model_id, "z": z})["picture"].split(",")[1]))
        assert np.abs(images.load(base64.b64decode(url.split(",")[1])).astype(int) - alone).mean() < 1


def test_the_atlas_comes_as_it_would_be_saved(model_id, view, tmp_path):
    sent = base64.b64decode(explore.atlas({"model": model_id})["data"].split(",")[1])
    atlases.save(shelf.get(model_id).atlas, tmp_path)
    assert sent == Path(view["files"]["atlas"]).read_bytes()
    saved, plain = safetensors.numpy.load_file(tmp_path / "atlas.safetensors"), safetensors.numpy.load(sent)
    assert np.array_equal(plain.pop("examples"), shelf.get(model_id).atlas.examples)
    assert all(np.array_equal(plain[name], saved[name]) for name in plain)


def test_browsers_may_fetch_what_a_shipped_model_draws_with_and_nothing_of_others(model_id, view):
    assert set(view["files"]) == {"atlas", "decoder", "encoder", "draws", "reads"}
    weights = b"".join(Path(view["files"][part]).read_bytes() for part in ("draws", "reads"))
    assert weights == (shelf.get(model_id).folder / "model.safetensors").read_bytes()
    assert all(Path(path).is_relative_to(shelf.served()) for path in view["files"].values())
    assert shelf.files("../secrets") == shelf.files("0" * 32) == {}


@pytest.fixture
def own_root(tmp_path, monkeypatch) -> Path:
    """A folder of checkpoints with the digits in it, which are open nowhere."""
    shutil.copytree(checkpoints.root() / "digits", tmp_path / "own" / "digits")
    monkeypatch.setenv("VAE_CHECKPOINTS", str(tmp_path / "own"))
    monkeypatch.setattr(shelf, "_open", type(shelf._open)())
    shelf._files.cache_clear()
    return tmp_path / "own" / "digits"


def replaced(folder: Path) -> None:
    """By another model of the same form: its latents would be drawn without a complaint. The graphs are still the old one's."""
    model = VAE(checkpoints.load(folder).model.config)
    model.save_pretrained(folder)


def test_a_model_that_is_replaced_under_an_open_page_is_drawn_by_no_other(own_root):
    """Its addresses give what they gave; those of the new one are others; and the server refuses the old one's latents."""
    view = explore.view({"model": "digits"})
    before = {name: Path(path).read_bytes() for name, path in view["files"].items()}
    replaced(own_root)
    shelf._open.clear()  # as if twelve others had been opened since
    after = explore.view({"model": "digits"})
    assert set(after["files"]) == {"atlas"}  # its graphs are those of other weights: the server draws
    assert {name: Path(path).read_bytes() for name, path in view["files"].items()} == before
    assert not set(after["files"].values()) & set(view["files"].values())
    asked = {"model": "digits", "z": view["start"]}
    assert "load the page anew" in explore.decode({**asked, "hash": view["hash"]})["error"]
    assert "picture" in explore.decode({**asked, "hash": after["hash"]})


def test_graphs_are_those_of_the_weights_that_were_loaded(own_root):
    """Replaced between a model's opening and its first view: graphs, weights and latents of two models would meet."""
    shelf.get("digits")
    replaced(own_root)
    assert set(shelf.files("digits")) == {"atlas"}


def test_a_visitors_own_model_of_an_earlier_version_is_opened_or_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_RUNS", str(tmp_path))
    folder = shutil.copytree(checkpoints.root() / "digits", tmp_path / ("o" * 32) / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    for name in ("adaptive_norm", "looks"):
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "critic.safetensors").write_bytes(b"which earlier versions kept")
    found = explore.view({"model": "o" * 32})
    assert found["files"] == {}
    assert (
        explore.decode({"model": "o" * 32, "z": found["start"], "hash": found["hash"]})["picture"] == found["picture"]
    )
    older = shutil.copytree(folder, tmp_path / ("p" * 32) / "checkpoint")
    tensors = safetensors.numpy.load_file(older / "atlas.safetensors")
    del tensors["likelihoods"]
    safetensors.numpy.save_file(tensors, older / "atlas.safetensors")
    assert "made by an earlier version" in explore.decode({"model": "p" * 32, "z": found["start"]})["error"]
    assert shelf.entries(["p" * 32]) == shelf.entries()


def test_knobs_say_what_they_drag_along(model_id, view):
    atlas = shelf.get(model_id).atlas
    places = [row.name for row in atlas.named]
    for knob in (knob for knob in view["knobs"] if knob["kind"] == "named"):
        name = knob["key"].partition(":")[2]
        dragged = atlas.dragged(name)
        assert knob.get("drags", [0, 0])[1] == pytest.approx(dragged[1] if dragged else 0, abs=0.01)
        if atlas.named[places.index(name)].effect is None:
            among = atlas.entanglement[places.index(name), places.index(dragged[0])]
            assert dragged[1] == pytest.approx(abs(float(among)))


def test_a_page_shows_the_travel_and_the_trait_that_a_reader_saw():
    seen = {"effect": 0.9, "low": -0.5, "high": 1.4, "trait": 0.6, "drags": ("hair=grey", 0.256)}
    named = (
        Named("hat", torch.eye(2)[0], "balanced accuracy", 0.1, 0.2, **seen),
        Named("hair=grey", torch.eye(2)[1], "balanced accuracy", 0.9, 0.2, effect=0.5),
    )
    atlas = dataclasses.replace(bare_atlas(2), named=named)
    (plain,) = (explore._plain(knob, atlas) for knob in atlas.knobs if knob.kind == "named")  # grey hair is no knob
    assert (plain["key"], plain["low"], plain["high"]) == ("named:hat", -0.5, 1.4)
    assert plain["trait"]["reading"] == 0.6 and plain["drags"] == ["hair: grey", 0.26]


def test_the_ends_of_a_knob_are_the_start_with_that_knob_turned(model_id, view):
    knob = next(knob for knob in view["knobs"] if knob["kind"] == "named")
    low, high = explore.ends({"model": model_id, "keys": [knob["key"]]})["pictures"]
    vector, probe, start = (np.array(values) for values in (knob["vector"], knob["probe"], view["start"]))
    for url, end in ((low, knob["low"]), (high, knob["high"])):
        z = start + (end - (start @ probe - knob["offset"])) * vector
        wanted = shelf.get(model_id).decode([z.tolist()])[0].astype(int)
        found = images.load(base64.b64decode(url.split(",")[1]))
        assert np.abs(found - wanted).mean() < 3  # but for JPEG and short numbers
    for keys in (None, [], ["named:nothing"], [1], [[]], [knob["key"]] * 17):
        assert "error" in explore.ends({"model": model_id, "keys": keys})


def test_an_upload_is_read_and_gone(model_id, uploads):
    file = uploads / "picture.png"
    file.write_bytes(images.encode(shelf.get(model_id).atlas.examples[0]))
    answer = explore.encode({"model": model_id, "path": str(file)})
    assert len(answer["z"]) == len(explore.view({"model": model_id})["start"])
    assert answer["note"] == ""
    assert not file.exists()


def test_an_upload_that_is_no_picture_is_gone_too(model_id, uploads):
    file = uploads / "picture.png"
    file.write_text("not a picture")
    assert explore.encode({"model": model_id, "path": str(file)})["error"]
    assert not file.exists()


def test_no_file_outside_of_the_uploads_is_read_or_removed(model_id, uploads, tmp_path):
    file = tmp_path / "mine.png"
    file.write_bytes(images.encode(shelf.get(model_id).atlas.examples[0]))
    (uploads / "link.png").symlink_to(file)
    for path in (
        str(file),
        str(uploads / ".." / "mine.png"),
        str(uploads / "link.png"),
        str(uploads),
        "a\0b",
        "\ud800",
        "a" * 5000,
        5,
        None,
        "",
    ):
        answer = explore.encode({"model": model_id, "path": path})
        assert "not here" in answer["error"], path
    assert file.exists()


@pytest.fixture
def portraits(model_id, monkeypatch, tmp_path) -> str:
    """A model whose uploads are framed as portraits."""
    folder = tmp_path / "checkpoints" / "people"
    shutil.copytree(checkpoints.root() / model_id, folder)
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('framing = "square"', 'framing = "portrait"'))
    monkeypatch.setenv("VAE_CHECKPOINTS", str(folder.parent))
    monkeypatch.setattr(shelf, "_open", type(shelf._open)())
    shelf._files.cache_clear()
    return "people"


def test_where_no_face_is_found_the_eyes_can_be_set_by_hand(portraits, uploads):
    scene = np.zeros((300, 400, 3), np.uint8)
    scene[:, :, 2] = np.linspace(60, 220, 300)[:, None]
    file = uploads / "scene.png"
    file.write_bytes(images.encode(scene))
    answer = explore.encode({"model": portraits, "path": str(file)})
    assert explore.say("explore.face_none") in answer["note"] or explore.say("explore.face_absent") in answer["note"]
    assert images.from_data_url(answer["photo"]).shape[:2] == (300, 400)
    assert not file.exists()
    by_hand = [[0.3, 0.4], [0.5, 0.4]]
    again = explore.encode({"model": portraits, "photo": answer["photo"], "eyes": by_hand, "turn": 0.0})
    size = shelf.get(portraits).model.config.size
    expected = frame(
        images.from_data_url(answer["photo"]), Form("portrait", size, 3), np.array(by_hand) * (400, 300)
    ).picture
    assert np.abs(images.from_data_url(again["seen"]).astype(int) - expected).mean() < 4  # but for JPEG
    assert again["z"] != answer["z"]


def test_a_large_upload_comes_back_small_enough_to_be_sent_again(portraits, uploads):
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1200, 3), dtype=np.uint8)
    file = uploads / "noise.png"
    file.write_bytes(images.encode(noise))
    answer = explore.encode({"model": portraits, "path": str(file)})
    assert len(answer["photo"]) <= images.MAX_URL_CHARACTERS
    assert max(images.from_data_url(answer["photo"]).shape) == explore.PHOTO_SIDE
    assert "z" in explore.encode({"model": portraits, **{key: answer[key] for key in ("photo", "eyes", "turn")}})


@pytest.mark.parametrize(
    "eyes", [None, [], [[0.1, 0.1]], [[0.1, 0.1], [0.1, 1.5]], [["a", 0], [1, 1]], [[0.2, 0.2]] * 2, 10**400]
)
@pytest.mark.parametrize("turn", [0.0, None, "x", 2, 10**400])
def test_strange_eyes_are_answered_with_a_sentence(model_id, eyes, turn):
    photo = images.data_url(np.full((60, 80, 3), 90, np.uint8))
    answer = explore.encode({"model": model_id, "photo": photo, "eyes": eyes, "turn": turn})
    assert answer["error"] != explore.say("page.bug")


def test_a_search_comes_nearer_to_the_picture(model_id):
    model = shelf.get(model_id)
    (picture,) = model.atlas.examples[1:2]
    asked = {"model": model_id, "z": model.encode(picture[None])[0].tolist(), "seen": images.data_url(picture, "png")}

    def error() -> float:
        return float(np.square(model.decode([asked["z"]])[0].astype(float) - picture).mean())

    before = error()
    for _ in range(20):  # a busy machine gets few steps into each half second
        asked["z"] = explore.closer(asked)["z"]
        if error() < 0.97 * before:
            return
    pytest.fail(f"the error went from {before} to {error()} only")


def test_a_search_takes_what_was_seen_as_it_is(portraits, monkeypatch):
    monkeypatch.setattr(faces, "find", lambda picture: pytest.fail("what is framed is framed again"))
    model = shelf.get(portraits)
    z, seen = model.encode(model.atlas.examples[:1])[0].tolist(), images.data_url(model.atlas.examples[0])
    assert "z" in explore.closer({"model": portraits, "z": z, "seen": seen})


def test_one_search_at_a_time(model_id, view):
    asked = {"model": model_id, "z": view["start"], "seen": view["picture"]}
    with explore._search:
        assert explore.closer(asked)["error"] == explore.say("explore.searching")
    assert "z" in explore.closer(asked)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300, 10**400, True, "1", None, [1]])
def test_latents_of_something_else_than_finite_numbers_are_refused(model_id, view, value):
    assert "error" in explore.decode({"model": model_id, "z": [value, *view["start"][1:]]})


def test_too_many_latents_at_once_are_refused(model_id, view):
    assert "error" in explore.decode_many({"model": model_id, "zs": [view["start"]] * 33})
    assert "error" in explore.decode_many({"model": model_id, "zs": []})


@pytest.mark.parametrize("drawing", ["", "data:image/png;base64,", "data:image/png;base64,%%", "x" * 10, None, 7, []])
def test_drawings_that_are_none_are_refused(model_id, drawing):
    assert "error" in explore.encode({"model": model_id, "drawing": drawing})


@pytest.mark.parametrize("model", ["", "..", "../avatars", "/etc", "a" * 32, 5, None, ["avatars"], {"a": 1}])
def test_strange_models_are_refused(model):
    with pytest.raises(BadInput):
        shelf.get(model)
    assert all("error" in function({"model": model}) for function in FUNCTIONS)


@given(ANYTHING)
def test_whatever_is_sent_the_answer_is_an_object_and_never_a_crash(asked):
    for function in FUNCTIONS:
        assert "error" in function(asked)


@given(
    st.dictionaries(
        st.sampled_from(["z", "zs", "seed", "seen", "example", "path", "drawing", "photo", "eyes", "turn"]),
        ANYTHING,
        max_size=3,
    )
)
def test_whatever_is_asked_of_a_real_model_gets_an_answer_in_words(asked):
    bug = explore.say("page.bug")
    for function in FUNCTIONS:
        assert function(asked | {"model": shelf.default()}).get("error") != bug


@pytest.mark.skipif("digits" not in checkpoints.names(), reason="no checkpoint of digits")
def test_digits_have_a_knob_each_in_their_order_and_can_be_asked_for_alone():
    named = [knob for knob in explore.view({"model": "digits"})["knobs"] if knob["kind"] == "named"]
    assert [knob["label"][-1] for knob in named] == list("0123456789")
    model = shelf.get("digits")
    assert [knob["trait"]["label"] for knob in named] == list("0123456789")
    threes = model.atlas.prior("mixture", 32, 0, only=["label=3"])
    again = model.encode(model.decode(threes))  # what the encoder reads in the pictures themselves
    probe = model.atlas.probes[[row.name for row in model.atlas.named].index("label=3")]
    assert float(((again - model.atlas.mean) @ probe > 0.4).float().mean()) > 0.9
