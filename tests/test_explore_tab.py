"""What the Explore tab's server functions answer, also to strangers who send them whatever they like."""

import base64
import json
from pathlib import Path

import gradio.utils
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui import explore, shelf
from vae import checkpoints, images
from vae.errors import BadInput

pytestmark = pytest.mark.skipif(not checkpoints.names(), reason=f"no checkpoint in {checkpoints.root()}")
FUNCTIONS = (explore.decode, explore.decode_many, explore.surprise, explore.encode)
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
    return explore.view(model_id)


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
    knobs = {knob.key: knob for knob in shelf.get(model_id).atlas.knobs()}
    assert len({knob["key"] for knob in view["knobs"]}) == len(view["knobs"])
    for sent in view["knobs"]:
        knob = knobs[sent["key"]]
        if "unit" in sent:
            assert knob.vector[sent["unit"]] == knob.vector.sum() == 1
        else:
            assert np.dot(sent["vector"], sent["probe"]) == pytest.approx(1, abs=1e-3)
            assert np.allclose(sent["vector"], knob.vector, rtol=1e-4)
            assert np.allclose(sent["probe"], knob.probe, rtol=1e-4)


def test_many_pictures_are_those_that_come_one_by_one(model_id, view):
    zs = [view["start"], [0] * len(view["start"])]
    many = explore.decode_many({"model": model_id, "zs": zs})["pictures"]
    for url, z in zip(many, zs, strict=True):
        alone = images.load(base64.b64decode(explore.decode({"model": model_id, "z": z})["picture"].split(",")[1]))
        assert np.abs(images.load(base64.b64decode(url.split(",")[1])).astype(int) - alone).mean() < 1


def test_one_seed_is_one_surprise(model_id):
    first, again, other = (explore.surprise({"model": model_id, "seed": seed})["z"] for seed in (5, 5, 6))
    assert first == again != other


def test_an_upload_is_read_and_gone(model_id, uploads):
    file = uploads / "picture.png"
    file.write_bytes(images.encode(shelf.get(model_id).atlas.examples[0]))
    answer = explore.encode({"model": model_id, "path": str(file)})
    assert len(answer["z"]) == len(explore.view(model_id)["start"])
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
        5,
        None,
        "",
    ):
        assert "error" in explore.encode({"model": model_id, "path": path}), path
    assert file.exists()


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, True, "7", None, float("nan")])
def test_strange_seeds_are_refused(model_id, seed):
    assert "error" in explore.surprise({"model": model_id, "seed": seed})


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


@given(st.dictionaries(st.sampled_from(["z", "zs", "seed", "example", "path", "drawing"]), ANYTHING, max_size=3))
def test_whatever_is_asked_of_a_real_model_gets_an_answer_in_words(asked):
    bug = explore.say("page.bug")
    for function in FUNCTIONS:
        assert function(asked | {"model": shelf.default()}).get("error") != bug
