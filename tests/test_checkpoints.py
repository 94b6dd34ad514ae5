"""A checkpoint appears whole or not at all, and a damaged one is answered with a sentence."""

import dataclasses
import hashlib
import json
import math
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.distributions import Normal

from vae import checkpoints
from vae.data import Pictures
from vae.directions import merged
from vae.errors import BadInput
from vae.measure import evaluation
from vae.model import VAE, VAEConfig
from vae.publish.folder import publish
from vae.recipe import TrainConfig

CONFIG = TrainConfig(
    data="squares",
    steps=1,
    model=VAEConfig(size=8, channels=3, latent=3, widths=(8,), stem=2),
    card={"title": "Squares"},
)


def squares(count: int) -> Pictures:
    colours = np.random.default_rng(count).integers(0, 256, (count, 1, 1, 3))
    images = np.broadcast_to(colours, (count, 8, 8, 3)).astype(np.uint8)
    return Pictures(images, [f"{i}.png" for i in range(count)])


def publish_squares(folder):
    torch.manual_seed(0)
    return publish(folder, VAE(CONFIG.model).eval(), squares(400), squares(60), CONFIG, [[1, 2.0, 3.0]], figures=False)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "squares"
    publish_squares(folder)
    return folder


@pytest.fixture
def copy(published, tmp_path):
    return shutil.copytree(published, tmp_path / "copy")


def test_what_is_published_can_be_loaded_by_name_and_by_folder(published, monkeypatch):
    monkeypatch.setenv("VAE_CHECKPOINTS", str(published.parent))
    assert checkpoints.names() == ["squares"]
    by_name, by_folder = checkpoints.load("squares"), checkpoints.load(published)
    z = torch.randn(5, 3)
    assert np.array_equal(by_name.decode(z), by_folder.decode(z))
    assert by_name.title == "Squares"
    assert by_name.card.startswith("---\n")
    assert {path.name for path in published.parent.iterdir()} == {"squares"}  # nothing left beside it


def test_what_is_measured_is_what_ships(published, tmp_path):
    numbers = publish_squares(tmp_path / "again")
    again = checkpoints.load(tmp_path / "again")
    room = 1e-5 if torch.cuda.is_available() else 0  # a GPU adds up in another order each time
    assert evaluation.evaluate(again.model, squares(60).images) == pytest.approx(numbers, rel=room, abs=0)


def test_a_model_of_probabilities_cannot_refine_and_says_so(published):
    model = checkpoints.load(published)
    grey = dataclasses.replace(model, model=VAE(dataclasses.replace(CONFIG.model, likelihood="bernoulli")))
    with pytest.raises(BadInput, match="gaussian"):
        grey.refine(torch.zeros(1, 3), squares(1).images)
    with pytest.raises(BadInput, match="3 finite"):
        model.refine(torch.zeros(1, 4), squares(1).images)


def test_publishing_replaces_a_checkpoint_but_nothing_else(copy, tmp_path):
    publish_squares(copy)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(BadInput, match="something else"):
        publish_squares(tmp_path / "mine")
    assert (tmp_path / "mine" / "diary.txt").read_text() == "dear diary"


def test_encode_and_decode_check_what_they_are_given(published):
    checkpoint = checkpoints.load(published)
    assert checkpoint.decode([[1e9, -1e9, 0.0]]).shape == (1, 8, 8, 3)
    far, bound = checkpoint.decode([[1e9, 0, 0]]), checkpoint.decode([[checkpoints.BOUND, 0, 0]])
    assert np.array_equal(far, bound)
    for bad in ([[1.0, 2.0]], [1.0, 2.0, 3.0], [[1.0, 2.0, float("nan")]], [["a", "b", "c"]], "abc", [[None] * 3], {}):
        with pytest.raises(BadInput):
            checkpoint.decode(bad)
    with pytest.raises(BadInput, match="Pictures"):
        checkpoint.encode(np.zeros((1, 9, 9, 3), np.uint8))
    assert checkpoint.prepare(np.zeros((40, 90, 3), np.uint8)).shape == (8, 8, 3)


def test_a_posterior_is_the_models_own_and_encode_its_mode(published):
    checkpoint = checkpoints.load(published)
    pictures = checkpoint.atlas.examples[:3]
    posterior = checkpoint.posterior(pictures)
    assert torch.equal(posterior.mean, checkpoint.encode(pictures))
    wanted = Normal(posterior.mean, posterior.spread()).log_prob(posterior.mean)
    assert torch.allclose(wanted, -0.5 * (posterior.logvar + math.log(2 * math.pi)), atol=1e-5)


def test_the_digest_is_of_the_weights_alone(copy):
    before = checkpoints.load(copy).digest
    assert before == hashlib.sha256((copy / "model.safetensors").read_bytes()).hexdigest()[:12]
    (copy / "README.md").write_text("another card")
    assert checkpoints.load(copy).digest == before
    model = checkpoints.load(copy).model
    model.sigma += 0.25
    model.save_pretrained(copy)
    assert checkpoints.load(copy).digest != before


@pytest.mark.parametrize("source", ["nothing", "../x", "a/b/c", "", ".", "no/such-repo-here"])
def test_unknown_checkpoints_are_named(source, monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput):
        checkpoints.load(source)


@pytest.mark.parametrize("file", checkpoints.FILES)
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\x00", b'{"a": 1}', b"[]"])
def test_each_damaged_file_is_answered_with_a_sentence(copy, file, content):
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes(content)
    with pytest.raises(BadInput):
        checkpoints.load(copy)


def test_an_atlas_of_another_model_is_refused(copy):
    path = copy / "config.json"
    config = json.loads(path.read_text())
    VAE(VAEConfig(**{**config, "latent": 4})).save_pretrained(copy)
    with pytest.raises(BadInput, match="atlas"):
        checkpoints.load(copy)
    tensors = safetensors.torch.load_file(copy / "model.safetensors")
    assert tensors["encoder.head.bias"].shape == (8,)


def test_evaluation_is_the_closed_form_on_a_model_that_ignores_its_pictures(published):
    model = checkpoints.load(published).model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.encoder.head.bias[:3] = 2.0  # mean 2, variance 1: KL = 2 nats a unit
        model.sigma.fill_(0.5)
    numbers = evaluation.evaluate(model, np.full((7, 8, 8, 3), 255, np.uint8))
    assert numbers["kl"] == pytest.approx(6.0)
    assert numbers["rmse"] == pytest.approx(0.5)  # it draws mid-grey
    expected = -192 * torch.distributions.Normal(0.5, 0.5).log_prob(torch.tensor(1.0)).item()
    assert numbers["reconstruction"] == pytest.approx(expected, rel=1e-5)
    assert numbers["elbo"] == pytest.approx(-expected - 6.0, rel=1e-5)
    assert numbers["active_units"] == 3


def test_columns_of_noughts_and_ones_become_one_of_words():
    columns = {"black_hair": np.array([1.0, 0, 0, 1]), "fair_hair": np.array([0.0, 1, 0, 1]), "smile": np.ones(4)}
    found = merged(columns, {"hair": ["black_hair", "fair_hair"]})
    assert found["hair"].tolist() == ["black", "fair", "", ""]
    assert sorted(found) == ["hair", "smile"]
    with pytest.raises(BadInput, match="red_hair"):
        merged(columns, {"hair": ["black_hair", "red_hair"]})


def test_where_pictures_may_not_be_shown_all_are_the_models_own(tmp_path):
    train, held = squares(400), squares(60)
    model = VAE(CONFIG.model).eval()
    recipe = dataclasses.replace(CONFIG, show_data=False)
    publish(tmp_path / "secret", model, train, held, recipe, [[1, 2.0, 3.0], [2, 1.0, 3.0]])
    shown = checkpoints.load(tmp_path / "secret").atlas.examples
    known = {picture.tobytes() for picture in [*train.images, *held.images]}
    assert not known & {example.tobytes() for example in shown}
    assert not (tmp_path / "secret" / "figures" / "reconstructions.png").exists()
    assert "may not be shown" in (tmp_path / "secret" / "README.md").read_text()


def test_a_visitor_starts_from_the_picture_that_the_recipe_names(tmp_path):
    train, held = squares(400), squares(60)
    model = VAE(CONFIG.model).eval()
    recipe = dataclasses.replace(CONFIG, start="42.png")
    publish(tmp_path / "named", model, train, held, recipe, [], figures=False)
    assert np.array_equal(checkpoints.load(tmp_path / "named").atlas.examples[0], held.images[42])
    with pytest.raises(BadInput, match=r"nobody\.png"):
        publish(tmp_path / "no", model, train, held, dataclasses.replace(recipe, start="nobody.png"), [], figures=False)
    assert not (tmp_path / "no").exists()


def test_distances_to_a_set_itself_are_none(published):
    checkpoint = checkpoints.load(published)
    rows = evaluation.compare(checkpoint, squares(400), squares(60))
    assert list(rows) == [
        "other real pictures",
        "reconstructions of those",
        "samples, normal prior",
        "samples, mixture prior",
    ]
    same = evaluation.compare(checkpoint, squares(400), squares(400))
    assert same["other real pictures"]["nearest"] == pytest.approx(0, abs=1e-3)
    assert "samples, mixture prior" in evaluation.distance_table(rows)
