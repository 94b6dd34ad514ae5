"""The verdict: its networks against torch.nn, its inputs against plain numpy, and a small model whose breakage is known."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from vae.atlas import Atlas
from vae.errors import BadInput
from vae.measure.broken import BREAKS, DRAWINGS, broken, generated
from vae.measure.fit import fit_atlas
from vae.measure.typical import FEWEST, LATENTS, fit_judge
from vae.measure.verdicts import FINE, Verdict, errors, of_latents, of_uploads, share_below, upload_inputs, verdict
from vae.model import VAE, VAEConfig, decoded, posterior_of
from vae.recipe import TrainConfig
from vae.storage import atlases
from vae.storage.judges import COLOURS, FAR, FIELDS, Critic, input_count
from vae.training import train

CONFIG = VAEConfig(size=16, channels=1, latent=6, widths=(16, 32), stem=2)


def dots(count: int, seed: int) -> np.ndarray:
    """Grey pictures of a dot of any place in the upper half, any size and brightness, over a bright ground below."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    at, radius, bright = (
        rng.uniform((3, 3), (7, 13), (count, 2)),
        rng.uniform(1, 3, count),
        rng.uniform(120, 255, count),
    )
    far = np.hypot(y - at[:, 0, None, None], x - at[:, 1, None, None])
    pictures = bright[:, None, None] * np.clip(radius[:, None, None] + 0.5 - far, 0, 1)
    pictures[:, 12:] = 200
    return pictures.astype(np.uint8)[..., None]


@pytest.fixture(scope="module")
def known() -> tuple[VAE, np.ndarray, np.ndarray]:
    """A small model of dots, the pictures that it has learnt from, and those held out."""
    pictures = dots(1000, 0)
    recipe = TrainConfig(data="dots", steps=300, batch=64, learning_rate=3e-3, model=CONFIG)
    *_, last = train(recipe, pictures)
    return last.model.eval(), pictures, dots(300, 1)


@pytest.fixture(scope="module")
def atlas(known):
    model, pictures, heldout = known
    return fit_atlas(model, pictures, heldout=heldout)


def on_uploads(model: VAE, atlas: Atlas, pictures: np.ndarray) -> Verdict:
    z = posterior_of(model, pictures).mean
    return of_uploads(atlas, pictures, decoded(model, z), z)


def test_a_critic_is_the_network_that_torch_makes():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.SiLU(), nn.Linear(7, 6), nn.SiLU(), nn.Linear(6, 1))
    center, scale, x = torch.randn(5), torch.rand(5) + 0.1, 30 * torch.randn(40, 5)
    critic = Critic(center, scale, tuple(part.data for part in network.parameters()))
    with torch.no_grad():
        wanted = network(torch.stack([torch.clamp((row - center) / scale, -FAR, FAR) for row in x]))
    torch.testing.assert_close(critic(x), wanted[:, 0])


def test_a_share_below_is_the_share_of_the_sample():
    sample = torch.randn(5000, generator=torch.Generator().manual_seed(0)).exp()
    quantiles = torch.quantile(sample, torch.linspace(0, 1, 101))
    values = torch.tensor([-1.0, 0.0, 0.1, 0.5, 1.0, 3.0, 1000.0])
    wanted = [float((sample < value).float().mean()) for value in values]
    np.testing.assert_allclose(share_below(values, quantiles), wanted, atol=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_critic_sees_of_an_upload(channels):
    rng = np.random.default_rng(0)
    pictures, again = rng.integers(0, 256, (2, 3, 16, 16, channels), dtype=np.uint8)
    z = torch.randn(3, 5)
    found = upload_inputs(pictures, again, z)
    assert found.shape == (3, input_count(5, channels))
    x, other = pictures[2] / 255, again[2] / 255
    grey = x.mean(axis=2)
    steps = np.diff(grey, axis=1) ** 2  # 15 columns in four fields that overlap
    assert torch.equal(found[:, :5], z)
    assert found[2, 5] == pytest.approx(grey[:2, :2].mean(), abs=1e-6)
    if channels == 3:
        assert found[2, 5 + 2 * COLOURS**2] == pytest.approx((x[:2, :2, 1] - x[:2, :2, 2]).mean(), abs=1e-6)
    of_errors = found[2, 5 + channels * COLOURS**2 :]
    assert of_errors[0] == pytest.approx(np.log(((x - other)[:4, :4] ** 2).mean() + 1e-5), abs=1e-5)
    assert of_errors[5] == pytest.approx(np.log(((x - other)[4:8, 4:8] ** 2).mean() + 1e-5), abs=1e-5)
    assert of_errors[FIELDS**2] == pytest.approx(np.log(steps[:4, :4].mean() + 1e-5), abs=1e-5)
    assert of_errors[FIELDS**2 + 3] == pytest.approx(np.log(steps[:4, 11:].mean() + 1e-5), abs=1e-5)


def test_a_critic_sees_seams_from_edge_to_edge():
    """Noise, of which the right half is brighter, and a picture whose first row is its last."""
    pictures = np.random.default_rng(0).integers(90, 110, (2, 16, 16, 1), dtype=np.uint8)
    pictures[0, :, 9:] += 100
    pictures[1, -1] = pictures[1, 0]
    across_rows, across_columns = upload_inputs(pictures, pictures, torch.empty(2, 0))[:, -8:].split(4, dim=1)
    step = [abs(pictures[0, :, i] / 255.0 - pictures[0, :, i - 1] / 255.0).mean() + 1e-3 for i in (8, 9, 10)]
    assert across_columns[0, 0] == pytest.approx(np.log(step[1]) - np.log(step[0] * step[2]) / 2, abs=1e-5)
    assert across_columns[0, 0] > 1.5 and (across_columns[0, 1:3] < 1).all() and (across_rows[:, :3] < 1).all()
    assert across_rows[1, 3] == pytest.approx(np.log(1e-3), abs=1e-5)
    assert across_rows[0, 3] > np.log(0.01)


def test_held_out_pictures_are_fine_and_broken_ones_are_not(known, atlas):
    model, *_ = known
    fresh = dots(400, 2)
    assert on_uploads(model, atlas, fresh).fine.float().mean() > 0.85
    assert on_uploads(model, atlas, dots(300, 1)).fine.float().mean() == pytest.approx(1 - FINE, abs=0.02)
    for picture in (fresh[:, ::-1], 255 - fresh, np.rot90(fresh, axes=(1, 2)), np.full_like(fresh, 128)):
        assert on_uploads(model, atlas, np.ascontiguousarray(picture)).fine.float().mean() < 0.1
    noise = np.random.default_rng(0).integers(0, 256, fresh.shape, dtype=np.uint8)
    assert not on_uploads(model, atlas, noise).fine.any()


def test_held_out_latents_are_fine_and_broken_ones_are_not(known, atlas):
    model, *_ = known
    z = posterior_of(model, dots(400, 2)).mean
    assert of_latents(atlas, z).fine.float().mean() > 0.85
    assert torch.equal(of_latents(atlas, z).fine, atlas.typicality(z) >= FINE)
    assert ((atlas.typicality(z) >= 0) & (atlas.typicality(z) <= 1)).all()
    knob = atlas.knobs[0]
    for travel in (-2.5, 2.5):
        far = z + (travel * knob.high - (z @ knob.probe - knob.offset))[:, None] * knob.vector
        assert of_latents(atlas, far).fine.float().mean() < 0.1
    assert of_latents(atlas, 2.5 * z - 1.5 * z.flip(0)).fine.float().mean() < 0.35  # some are near their partner


def test_the_measure_that_says_no_is_named(known, atlas):
    """Only the error rises where what comes back is spoilt, and only the density falls where it is made to."""
    model, _, heldout = known
    z = posterior_of(model, heldout[:50]).mean
    critic = atlas.judge.uploads(upload_inputs(heldout[:50], decoded(model, z), z))
    error, density = torch.full((50,), 1e-4), torch.full((50,), 1e4)

    def judged(**other: torch.Tensor) -> Verdict:
        values = {"density": density, "error": -error, "critic": critic} | other
        return verdict(values, atlas.judge.upload_quantiles)

    assert set(judged().against) == {"critic"}
    assert set(judged(error=-error - 1).against) == {"error"}
    lost = judged(density=-density)
    assert set(lost.against) == {"density"} and not lost.fine.any()


def test_a_judge_follows_its_seed_and_leaves_torchs_own_chance_alone(known, atlas):
    model, pictures, heldout = known
    torch.manual_seed(3)
    before = torch.get_rng_state()
    given = (pictures[:300], posterior_of(model, pictures[:300]), heldout, posterior_of(model, heldout))
    judges = [fit_judge(model, atlas, *given, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    for name in ("latents", "uploads"):
        first, again, other = (getattr(judge, name).layers[0] for judge in judges)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_pictures_of_other_sets_are_learnt_from(known, atlas):
    """Dots that are never but on the left: nearer to the set than anything broken."""
    model, pictures, heldout = known
    others, own = dots(2400, 7), dots(300, 8)
    others = others[others[:, :12, :, 0].sum(axis=1).argmax(axis=1) < 5]
    given = (pictures, posterior_of(model, pictures), heldout, posterior_of(model, heldout))
    taught = fit_judge(model, atlas, *given, others[:300])
    assert taught is not None

    def lead(critic: Critic) -> float:
        """By how much more a critic is sure of pictures of the set than of others that it has not seen."""
        found = []
        for part in (own, others[300:]):
            z = posterior_of(model, part).mean
            found.append(critic(upload_inputs(part, decoded(model, z), z)).mean())
        return float(found[0] - found[1])

    assert lead(taught.uploads) > lead(atlas.judge.uploads) + 1


def test_without_enough_held_out_pictures_there_is_no_judge(known):
    model, pictures, heldout = known
    assert fit_atlas(model, pictures[:100], heldout=heldout[: FEWEST - 1]).judge is None


def test_without_a_judge_the_density_judges_latents_and_the_error_uploads(known, atlas):
    model, _, heldout = known
    old = dataclasses.replace(atlas, judge=None)
    z = posterior_of(model, heldout).mean
    density = atlas.mixture.log_prob(z)
    assert (old.typicality(z).argsort().diff() != 0).all()
    np.testing.assert_allclose(old.typicality(z), share_below(density, atlas.likelihoods))
    assert set(of_latents(old, z).against) == {"density"}
    error = errors(heldout, decoded(model, z))
    assert torch.equal(on_uploads(model, old, heldout).fine, error <= atlas.familiar_error)


def test_a_judge_comes_back_from_its_file_to_the_bit(atlas, tmp_path):
    atlases.save(atlas, tmp_path)
    loaded = atlases.load(tmp_path)
    z = torch.randn(20, 6)  # principal axes and mixture are rounded
    torch.testing.assert_close(loaded.typicality(z), atlas.typicality(z), atol=0.01, rtol=0)
    for name in ("latents", "uploads"):
        one, other = getattr(loaded.judge, name), getattr(atlas.judge, name)
        pairs = zip((one.center, one.scale, *one.layers), (other.center, other.scale, *other.layers), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    assert torch.equal(loaded.judge.latent_quantiles, atlas.judge.latent_quantiles)
    assert torch.equal(loaded.judge.upload_quantiles, atlas.judge.upload_quantiles)
    atlases.save(dataclasses.replace(atlas, judge=None), tmp_path)
    assert atlases.load(tmp_path).judge is None


def zero_scale(tensors):
    tensors["judge.uploads.1"][0] = 0


def fallen_quantiles(tensors):
    tensors["judge.quantiles"][2] = tensors["judge.quantiles"][2].flip(0)


def other_inputs(tensors):
    tensors["judge.uploads.2"] = tensors["judge.uploads.2"][:, :-1].contiguous()


def no_layer(tensors):
    del tensors["judge.latents.5"]


def no_quantiles(tensors):
    del tensors["judge.quantiles"]


def full_precision(tensors):
    tensors["judge.latents.0"] = tensors["judge.latents.0"].float()


def no_number(tensors):
    tensors["judge.latents.7"][0] = torch.nan


DAMAGE = [zero_scale, fallen_quantiles, other_inputs, no_layer, no_quantiles, full_precision, no_number]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_judge_is_refused(atlas, tmp_path, damage):
    atlases.save(atlas, tmp_path)
    file = tmp_path / "atlas.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    damage(tensors)
    file.write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(BadInput, match="missing or damaged"):
        atlases.load(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 13, 28])
def test_broken_and_drawn_pictures_keep_the_form(size, channels):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2 * len(BREAKS), size, size, channels), dtype=np.uint8)
    before = pictures.copy()
    found = broken(pictures, rng)
    assert found.dtype == np.uint8 and found.shape == pictures.shape
    assert np.array_equal(pictures, before)
    assert all(not np.array_equal(one, other) for one, other in zip(found, pictures, strict=True))
    drawn = generated(2 * len(DRAWINGS), (size, size, channels), rng)
    assert drawn.dtype == np.uint8 and drawn.shape == (2 * len(DRAWINGS), size, size, channels)
    assert (drawn[0] == drawn[0, 0, 0]).all()  # flat
    assert np.array_equal(generated(5, (size, size, channels), np.random.default_rng(3)),
                          generated(5, (size, size, channels), np.random.default_rng(3)))  # fmt: skip


def test_a_knob_turned_too_far_reads_so_and_shuffled_numbers_are_the_same_ones(atlas):
    torch.manual_seed(0)
    z, knobs = torch.randn(50, 6), atlas.knobs[:1]
    reading = LATENTS["a knob turned to 1.3 to 2.5 times its travel"](z, knobs) @ knobs[0].probe - knobs[0].offset
    share = (reading / knobs[0].high).abs()
    assert ((share > 1.299) & (share < 2.501)).all()
    assert (reading > 0).any() and (reading < 0).any()
    assert torch.equal(LATENTS["numbers shuffled"](z, knobs).sort(dim=0).values, z.sort(dim=0).values)
