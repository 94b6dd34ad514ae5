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
from huggingface_hub import HfApi, constants
from torch.distributions import Normal

from vae import checkpoints
from vae.atlas import PRIORS
from vae.data import Pictures
from vae.errors import BadInput
from vae.measure import distances, evaluation
from vae.model import VAE, VAEConfig
from vae.publish.card import card
from vae.publish.folder import check, publish, push
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


@pytest.fixture(scope="module", autouse=True)
def few_pictures_to_compare():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "COMPARED", 40)
        yield


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
        grey.optimize(torch.zeros(1, 3), squares(1).images)
    with pytest.raises(BadInput, match="3 finite"):
        model.optimize(torch.zeros(1, 4), squares(1).images)


def as_of_before_the_new_decoder(folder) -> VAE:
    """The model that is in the folder then: neither its config nor its recipe knows of adaptive norms or looks."""
    model = VAE(dataclasses.replace(CONFIG.model, adaptive_norm=False))
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["adaptive_norm"], config["looks"]
    (folder / "config.json").write_text(json.dumps(config))
    lines = (folder / "recipe.toml").read_text().splitlines()
    (folder / "recipe.toml").write_text("\n".join(line for line in lines if line[:5] not in ("adapt", "looks")))
    return VAE.from_pretrained(folder)


def test_a_checkpoint_from_before_the_new_decoder_is_opened_as_what_it_was(copy):
    model, found = as_of_before_the_new_decoder(copy), checkpoints.load(copy)
    z = torch.randn(4, 3)
    torch.testing.assert_close(found.model.decode(z), model.decode(z))
    assert found.recipe.model == found.model.config
    assert not found.recipe.model.adaptive_norm


def test_a_new_config_over_older_weights_is_refused_in_a_sentence(copy):
    as_of_before_the_new_decoder(copy)
    for change in ({"adaptive_norm": True}, {"looks": 1}):
        config = dataclasses.asdict(CONFIG.model) | {"adaptive_norm": False} | change
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(BadInput, match="is no whole model: in model.safetensors .* do not match"):
            checkpoints.load(copy)


def tree(folder) -> dict:
    """Every path below a folder, with what its file holds."""
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in sorted(folder.rglob("*"))}


def test_publishing_replaces_a_checkpoint_and_an_empty_folder(copy, tmp_path):
    before = ["decoder.onnx", "critic.safetensors", "figures/loss.png"]  # two of them of an earlier version
    (copy / "figures").mkdir()
    for name in before:
        (copy / name).write_text("of the weights before")
    publish_squares(copy)
    assert not any((copy / name).exists() for name in before)
    (tmp_path / "empty").mkdir()
    publish_squares(tmp_path / "empty")
    assert checkpoints.load(tmp_path / "empty").title == "Squares"


def somebody_elses(kind: str, copy) -> None:
    """Makes the copy of a checkpoint a folder that holds more, or less, than a checkpoint."""
    if kind == "a model of another library":
        shutil.rmtree(copy)
        (copy / "notes").mkdir(parents=True)
        (copy / "config.json").write_text('{"model_type": "bert"}')
        (copy / "thesis.md").write_text("three years of work")
    elif kind == "only a config.json of ours":
        for file in checkpoints.FILES[1:]:
            (copy / file).unlink()
    elif kind == "one file too many":
        (copy / "figures").mkdir(exist_ok=True)
        (copy / "figures" / "thesis.md").write_text("three years of work")
    elif kind == "another config.json":
        (copy / "config.json").write_text('{"model_type": "bert"}')
    elif kind == "no recipe that can be read":
        (copy / "recipe.toml").write_text("my own = ")
    elif kind == "a repository":
        (copy / ".git").mkdir()
    elif kind == "a folder deeper down":
        (copy / "figures" / "deeper").mkdir(parents=True)
    elif kind == "a link":
        copy.rename(copy.with_name("elsewhere"))
        copy.symlink_to(copy.with_name("elsewhere"))
    elif kind == "links, as in the hub's cache":
        (copy / "README.md").rename(copy.with_name("blob"))
        (copy / "README.md").symlink_to(copy.with_name("blob"))
    else:
        shutil.rmtree(copy)
        copy.write_text("a file")


@pytest.mark.parametrize(
    "kind",
    [
        "a model of another library", "only a config.json of ours", "one file too many", "another config.json", "a file",
        "no recipe that can be read", "a repository", "a folder deeper down", "a link", "links, as in the hub's cache",
    ],
)  # fmt: skip
def test_nothing_but_a_whole_checkpoint_is_ever_replaced(copy, kind):
    somebody_elses(kind, copy)
    before = tree(copy.parent)
    with pytest.raises(BadInput, match="something else|no folder"):
        publish_squares(copy)
    assert tree(copy.parent) == before


def test_what_publishing_wants_is_checked_before_the_training(published, tmp_path, monkeypatch):
    train, held = squares(400), squares(60)
    check(tmp_path / "new", CONFIG, train, held)
    check(published, CONFIG, train, held)
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadInput, match="held-out"):
        check(tmp_path / "new", dataclasses.replace(CONFIG, start="nobody.png"), train, held)
    with pytest.raises(BadInput, match="red_hair"):
        check(
            tmp_path / "new", dataclasses.replace(CONFIG, categories={"hair": ["red_hair", "fair_hair"]}), train, held
        )
    with pytest.raises(BadInput, match="cannot be written"):
        check(tmp_path / ("x" * 300), CONFIG, train, held)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(BadInput, match="has 1 MB of room"):
        check(tmp_path / "new", CONFIG, train, held)


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
    wanted = Normal(posterior.mean, posterior.std()).log_prob(posterior.mean)
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


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("typo", "no checkpoint 'typo'; at hand are none"), ("/typo", "no checkpoint '/typo'"), ("../x", "no checkpoint"),
        ("a/b/c", "no checkpoint"), ("", "no checkpoint ''"), (".", "config.json is missing"), ("x" * 10**6, "no checkpoint"),
        ("no/such-repo-here", "no/such-repo-here is neither a folder here nor to be had from the hub"),
    ],
)  # fmt: skip
def test_unknown_checkpoints_are_named(source, sentence, monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_CHECKPOINTS", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=sentence) as caught:
        checkpoints.load(source)
    assert len(str(caught.value)) < 300


@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """The hub's cache, offline: me/smilers at main, and the same as revision v1 with another title -> its snapshots' folder."""
    cache = tmp_path / "cache" / "models--me--smilers"
    for revision, commit, title in (("main", "0" * 40, ""), ("v1", "1" * 40, 'title = "First"')):
        (cache / "refs").mkdir(parents=True, exist_ok=True)
        (cache / "refs" / revision).write_text(commit)
        (cache / "snapshots" / commit).mkdir(parents=True)
        (cache / "blobs" / commit).mkdir(parents=True)
        for file in published.glob("*.*"):
            blob = cache / "blobs" / commit / file.name
            blob.write_bytes(file.read_bytes())
            (cache / "snapshots" / commit / file.name).symlink_to(blob)
        recipe = cache / "blobs" / commit / "recipe.toml"
        recipe.write_text(recipe.read_text().replace('title = "Squares"', title))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache.parent))
    monkeypatch.chdir(tmp_path)
    return cache / "snapshots"


def test_a_checkpoint_from_the_hub_has_its_name_and_its_revisions(hub):
    found = checkpoints.load("me/smilers")
    assert (found.name, found.title, found.hub_id) == ("smilers", "Smilers", "me/smilers")
    assert found.folder == hub / ("0" * 40)
    assert checkpoints.load("me/smilers", revision="v1").title == "First"
    with pytest.raises(BadInput, match="me/smilers at v2 is neither"):
        checkpoints.load("me/smilers", revision="v2")


def test_what_is_in_the_hubs_cache_is_never_written_to(hub):
    before = tree(hub.parent)
    with pytest.raises(BadInput, match="something else"):
        publish_squares(hub / ("0" * 40))
    with pytest.raises(BadInput, match="something else"):
        push("me/smilers", "you/smilers")
    assert tree(hub.parent) == before


def test_a_whole_checkpoint_goes_to_the_hub_with_its_card(copy, monkeypatch):
    """The hub's client is replaced at its edge: no hub can be reached from a test."""
    calls = []

    def upload(api, *, repo_id, folder_path, delete_patterns):
        calls.append((api.token, repo_id, {path.name for path in folder_path.iterdir()}))
        assert "decoder.onnx" in delete_patterns  # one of older weights must not stay
        return f"https://huggingface.co/{repo_id}"

    monkeypatch.setattr(HfApi, "create_repo", lambda api, name, private, exist_ok: calls.append((name, private)))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert push(copy, "me/squares", private=True, token="hf_x") == "https://huggingface.co/me/squares"
    assert calls == [
        ("me/squares", True),
        ("hf_x", "me/squares", {*checkpoints.FILES, "README.md", "training.safetensors"}),
    ]
    (copy / "thesis.md").write_text("private")
    with pytest.raises(BadInput, match=r"thesis\.md"):
        push(copy, "me/squares")
    (copy / "thesis.md").unlink()
    (copy / "README.md").unlink()
    with pytest.raises(BadInput, match="no card"):
        push(copy, "me/squares")
    (copy / "atlas.json").unlink()
    with pytest.raises(BadInput, match=r"atlas\.json is missing"):
        push(copy, "me/squares")
    assert len(calls) == 2


def test_a_hub_that_cannot_be_reached_or_a_strange_id_gets_a_sentence(published, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("me/squares", "me/no spaces", "a/b/c"):
        with pytest.raises(BadInput, match=f"{name} could not be uploaded") as caught:
            push(published, name, token="hf_x")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", checkpoints.FILES)
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\x00", b'{"a": 1}', b"[]"])
def test_each_damaged_file_is_answered_with_a_sentence(copy, file, content):
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes(content)
    with pytest.raises(BadInput):
        checkpoints.load(copy)


def nested(depth: int) -> bytes:
    return b'{"a": ' + b"[" * depth + b"]" * depth + b"}"


def retyped(name: str, kind: torch.dtype):
    """Bytes of a safetensors file -> the same with one tensor in another type."""

    def change(content: bytes) -> bytes:
        tensors = safetensors.torch.load(content)
        return safetensors.torch.save(tensors | {name: tensors[name].to(kind)})

    return change


def words(**values):
    """Bytes of an atlas.json -> the same with other entries."""
    return lambda content: json.dumps(json.loads(content) | values).encode()


def row(**values) -> dict:
    return words(named=[{"name": "a", "measure": "correlation", "score": 0.5, "share": 0.5} | values])


LONG = "x" * 2**20
STRANGE = {
    "nested config": ("config.json", nested(10**5)),
    "nested atlas": ("atlas.json", nested(10**5)),
    "nested recipe": ("recipe.toml", b"a = " + b"[" * 10**5 + b"]" * 10**5),
    "a recipe of megabytes": ("recipe.toml", lambda content: content + b"\n#" + LONG.encode()),
    "a title of a megabyte": ("recipe.toml", lambda content: content.replace(b"Squares", LONG.encode())),
    "a framing of 50 kB": (
        "recipe.toml",
        lambda content: content.replace(b'"square"', b'"' + LONG[:50_000].encode() + b'"'),
    ),
    "a card that is a number": ("recipe.toml", b'card = 5\ndata = "x"\nsteps = 1'),
    "a card that is a list": ("recipe.toml", b'card = []\ndata = "x"\nsteps = 1'),
    "a list for a licence": ("recipe.toml", b'data = "x"\nsteps = 1\n[card]\nlicense = ["a", "b"]'),
    "float8 atlas": ("atlas.safetensors", retyped("kl", torch.float8_e4m3fn)),
    "half an atlas": ("atlas.safetensors", retyped("covariance", torch.float16)),
    "float pictures": ("atlas.safetensors", retyped("examples", torch.float32)),
    "an error of NaN": ("atlas.json", words(familiar_error=math.nan)),
    "an infinite error": ("atlas.json", words(familiar_error=math.inf)),
    "an error that is a text": ("atlas.json", words(familiar_error="0.1")),
    "an error of a thousand digits": ("atlas.json", b'{"familiar_error": 1' + b"0" * 5000 + b', "named": []}'),
    "rows that the tensors lack": ("atlas.json", row()),
    "rows that are a text": ("atlas.json", words(named="abc")),
    "megabytes of rows": ("atlas.json", words(named=[LONG])),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strangers_checkpoint_gets_one_short_sentence(copy, case):
    file, change = STRANGE[case]
    content = change((copy / file).read_bytes()) if callable(change) else change
    (copy / file).unlink()  # the model that the fixture's owner loaded may still be mapped
    (copy / file).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        checkpoints.load(copy)
    assert len(str(caught.value)) < 700
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values", [{}, {"score": math.nan}, {"score": "0.5"}, {"score": True}, {"share": 7}, {"name": 5}, {"name": "x" * 999},
               {"measure": "taste"}],
)  # fmt: skip
def test_named_rows_are_checked_one_by_one(copy, values):
    tensors = safetensors.torch.load((copy / "atlas.safetensors").read_bytes()) | {"named": torch.ones(1, 3)}
    (copy / "atlas.safetensors").unlink()
    (copy / "atlas.safetensors").write_bytes(safetensors.torch.save(tensors))
    (copy / "atlas.json").write_bytes(row(**values)((copy / "atlas.json").read_bytes()))
    if not values:
        assert checkpoints.load(copy).atlas.named[0].name == "a"
        return
    with pytest.raises(BadInput, match="atlas"):
        checkpoints.load(copy)


def test_a_named_row_may_not_come_twice(copy):
    tensors = safetensors.torch.load((copy / "atlas.safetensors").read_bytes()) | {"named": torch.ones(2, 3)}
    (copy / "atlas.safetensors").unlink()
    (copy / "atlas.safetensors").write_bytes(safetensors.torch.save(tensors))
    once = json.loads(row()(b"{}"))["named"]
    (copy / "atlas.json").write_bytes(words(named=once * 2)((copy / "atlas.json").read_bytes()))
    with pytest.raises(BadInput, match="name twice"):
        checkpoints.load(copy)


def test_an_atlas_that_claims_gigabytes_is_refused_by_its_head(copy):
    """A file of holes, 4 GB to read but nothing on the disk, whose head is consistent: 16,000 units."""
    head, at = {}, 0
    for name, (kind, *shape) in {
        "kl": ("F32", 16000), "mean": ("F32", 16000), "spreads": ("F32", 16000), "covariance": ("F32", 16000, 16000),
        "directions": ("F32", 16000, 16000), "mixture.weights": ("F32", 1), "mixture.means": ("F32", 1, 16000),
        "mixture.factors": ("F32", 1, 16000, 16000), "likelihoods": ("F32", 101), "examples": ("U8", 1, 8, 8, 3),
    }.items():  # fmt: skip
        size = math.prod(shape) * (4 if kind == "F32" else 1)
        head[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    (copy / "atlas.safetensors").unlink()
    with (copy / "atlas.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    with pytest.raises(BadInput, match="too large .* 16000 units"):
        checkpoints.load(copy)


def test_a_recipe_with_a_bom_is_read(copy):
    recipe = copy / "recipe.toml"
    recipe.write_bytes(b"\xef\xbb\xbf" + recipe.read_bytes())
    assert checkpoints.load(copy).recipe == CONFIG


def test_a_long_title_is_cut_where_it_is_shown(copy):
    recipe = dataclasses.replace(CONFIG, card={"title": "x" * 1000})
    (copy / "recipe.toml").write_text(recipe.to_toml())
    assert checkpoints.load(copy).title == "x" * 100


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


def test_where_pictures_may_not_be_shown_all_are_the_models_own(tmp_path):
    train, held = squares(400), squares(60)
    model = VAE(CONFIG.model).eval()
    recipe = dataclasses.replace(CONFIG, show_data=False)
    publish(tmp_path / "secret", model, train, held, recipe, [[1, 2.0, 3.0], [2, 1.0, 3.0]])
    shown = checkpoints.load(tmp_path / "secret").atlas.examples
    known = {picture.tobytes() for picture in [*train.images, *held.images]}
    assert not known & {example.tobytes() for example in shown}
    assert not (tmp_path / "secret" / "figures" / "reconstructions.webp").exists()
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
    same = evaluation.compare(checkpoint, squares(40), squares(40))
    assert same["other real pictures"]["nearest"] == pytest.approx(0, abs=1e-3)
    assert "samples, mixture prior" in evaluation.distance_table(rows)


def test_real_pictures_are_compared_with_training_pictures_that_are_not_among_them(published, monkeypatch):
    """Held-out pictures first, training pictures after them, and none of those on both sides."""
    checkpoint, train, heldout = checkpoints.load(published), squares(70), squares(10)

    def least(pictures: np.ndarray, among: np.ndarray) -> float:
        """All pixels of a square are alike: the distance is that of two colours."""
        some, others = (part[:, 0, 0].astype(float) / 255 for part in (pictures, among))
        return float(np.sqrt(np.square(some[:, None] - others[None]).mean(axis=2)).min(axis=1).mean())

    seen = {}
    monkeypatch.setattr(distances, "ssim", lambda a, b: seen.update(ssim=(a, b)) or 0.5)
    rows = evaluation.compare(checkpoint, train, heldout, seed=3)
    originals, again = seen["ssim"]
    assert np.array_equal(originals, heldout.images)  # and not the training pictures, which it has seen
    assert np.array_equal(again, checkpoint.decode(checkpoint.encode(heldout.images)))
    order = np.random.default_rng(3).permutation(70)
    reference, spare = train.images[order[:40]], train.images[order[40:]]
    real = np.concatenate([heldout.images, spare])
    assert rows[evaluation.REAL]["nearest"] == pytest.approx(least(real, reference), rel=1e-3)
    monkeypatch.setattr(evaluation, "NEAREST", 10)  # enough of them are held out: all that was learnt is looked through
    rows = evaluation.compare(checkpoint, train, heldout)
    assert rows[evaluation.REAL]["nearest"] == pytest.approx(least(heldout.images, train.images), rel=1e-3)
    drawn = checkpoint.decode(checkpoint.atlas.prior("normal", 40, 0, 1.0))[:10]
    found = rows["samples, normal prior"]["nearest"]
    assert found == pytest.approx(float(distances.nearest(drawn, train.images).mean()), rel=1e-3)
    assert rows == evaluation.compare(checkpoint, train, heldout)
    assert rows != evaluation.compare(checkpoint, train, heldout, seed=1)


@pytest.mark.parametrize(("learnt", "held", "count"), [(70, 10, 40), (30, 4, 17), (12, 60, 12)])
def test_sets_are_compared_side_by_side_in_their_features(published, monkeypatch, learnt, held, count):
    """With colours in place of a network's features, which the distances' own tests look at."""
    sizes = []

    def colours(pictures, device):
        sizes.append(len(pictures))
        return distances_of.setdefault(pictures.tobytes(), pictures.mean(axis=(1, 2)))

    distances_of, checkpoint = {}, checkpoints.load(published)
    monkeypatch.setattr(evaluation, "FEWEST", count)
    monkeypatch.setattr(evaluation.features, "has_network", lambda: True)
    monkeypatch.setattr(distances, "features", colours)
    monkeypatch.setattr(distances, "perceptual", lambda a, b, device: float(len(a)))
    train, heldout = squares(learnt), squares(held)
    rows = evaluation.compare(checkpoint, train, heldout, seed=2)
    assert sizes == [count] * 5  # the training pictures', and each row's
    order = np.random.default_rng(2).permutation(learnt)
    aim = train.images[order[:count]].mean(axis=(1, 2))
    real = np.concatenate([heldout.images, train.images[order[count:]]])[:count]
    sets = {evaluation.REAL: real, "reconstructions of those": checkpoint.decode(checkpoint.encode(real))}
    sets |= {f"samples, {p} prior": checkpoint.decode(checkpoint.atlas.prior(p, count, 2, 1.0)) for p in PRIORS}
    for name, pictures in sets.items():
        found = pictures.mean(axis=(1, 2))
        assert rows[name]["frechet"] == pytest.approx(distances.frechet(found, aim), rel=1e-6)
        assert rows[name]["kernel"] == pytest.approx(1000 * distances.kernel(found, aim), rel=1e-6)
    assert rows["reconstructions of those"]["perceptual"] == min(held, count)
    monkeypatch.setattr(evaluation, "FEWEST", count + 1)
    assert not any("frechet" in row for row in evaluation.compare(checkpoint, train, heldout).values())
    assert evaluation.compare(checkpoint, train, heldout) == evaluation.compare(checkpoint, train, heldout, seed=0)


@pytest.mark.parametrize(("heldout", "share"), [(10, 0.75), (40, 0.0), (60, 0.0)])
def test_the_share_of_training_pictures_among_the_40_real_ones_is_counted(published, heldout, share):
    rows = evaluation.compare(checkpoints.load(published), squares(400), squares(heldout))
    assert rows[evaluation.REAL]["trained_on"] == share
    assert rows["reconstructions of those"]["trained_on"] == share
    assert f"| {evaluation.REAL} | {share:.4g} |" in evaluation.distance_table(rows)


def test_a_card_says_what_it_was_measured_on_and_leaves_out_what_there_is_not(published):
    checkpoint, train = checkpoints.load(published), squares(400)
    numbers = {"pictures": 60, "elbo": 1.0}
    rows = {evaluation.REAL: {"trained_on": 0.75, "nearest": 1.0}}
    text = card(checkpoint, "squares", numbers, rows, train, [[1, 2.0, 3.0]], 60, figures=True)
    assert "400 pictures to learn from; held out are a tenth by a hash of the file names, 60 pictures" in text
    assert "75% of the other real pictures are training pictures" in text
    assert "![samples](figures/samples.webp)" in text
    assert 'license: "other"' in text
    for absent in (
        "$",
        "None",
        "Named directions",
        "No direction was made",
        "teacher",
        "Source",
        "may not be shown",
        "critic",
    ):
        assert absent not in text, absent
    plain = card(checkpoint, "squares", numbers, {}, train, [], 60, figures=False)
    assert "Figures" not in plain
    assert "other real pictures" not in plain
    assert plain.count("## ") == 3
