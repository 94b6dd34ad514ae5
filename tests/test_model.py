"""The model against closed forms, round trips through its saved form, and what a damaged form is answered with."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.distributions import Normal, kl_divergence

from vae.errors import BadInput
from vae.model import STYLE, VAE, Norm, Posterior, VAEConfig, decoded, posterior_of, to_pictures, to_tensor

SMALL = VAEConfig(size=12, channels=3, latent=5, widths=(8, 16), stem=2)


@pytest.fixture
def model() -> VAE:
    torch.manual_seed(0)
    return VAE(SMALL).eval()


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        VAEConfig(size=28, channels=1, latent=3, widths=(8, 16), stem=4, likelihood="bernoulli"),  # 28 is padded to 32
        VAEConfig(size=8, channels=1, latent=1, widths=(8,), stem=1),
        VAEConfig(size=28, channels=1, latent=3, widths=(8, 16), stem=4, looks=2),
    ],
)
def test_shapes_and_range(config):
    vae = VAE(config)
    x = torch.rand(2, config.channels, config.size, config.size)
    posterior = vae.encode(x)
    again = vae.decode(posterior.mode())
    assert posterior.mean.shape == posterior.logvar.shape == (2, config.latent)
    assert again.shape == x.shape
    assert again.min() >= 0
    assert again.max() <= 1


def test_kl_is_torchs():
    mean, logvar = torch.randn(2, 100, 7, generator=torch.Generator().manual_seed(1))
    expected = kl_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(Posterior(mean, logvar).kl(), expected)


def test_posterior_samples_have_its_moments_and_follow_the_seed():
    posterior = Posterior(torch.full((20_000, 1), 2.0), torch.full((20_000, 1), -1.0))
    z = posterior.sample(torch.Generator().manual_seed(3))
    assert z.mean().item() == pytest.approx(2.0, abs=0.02)
    assert z.var().item() == pytest.approx(np.exp(-1), rel=0.03)
    assert torch.equal(z, posterior.sample(torch.Generator().manual_seed(3)))


def test_train_and_eval_mode_draw_the_same_pictures(model):
    x = torch.rand(3, 3, 12, 12)
    assert torch.equal(model.eval().encode(x).mean, model.train().encode(x).mean)
    z = torch.randn(3, 5)
    assert torch.equal(model.eval().decode(z), model.train().decode(z))


def test_pictures_survive_the_way_into_the_model_and_back():
    pictures = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    assert np.array_equal(to_pictures(to_tensor(pictures)), pictures)


def test_saved_and_loaded_is_the_same_in_half_precision(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    loaded = VAE.from_pretrained(tmp_path / "model")
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float()), name
    assert not loaded.training
    loaded.save_pretrained(tmp_path / "again")
    first, second = ((tmp_path / folder / "model.safetensors").read_bytes() for folder in ("model", "again"))
    assert first == second


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(tmp_path)
    return tmp_path


def _rewrite_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_unknown_config_key_is_refused(saved):
    _rewrite_config(saved, colour="red")
    with pytest.raises(BadInput, match="colour"):
        VAE.from_pretrained(saved)


def test_missing_config_key_is_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    del config["stem"]
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="stem"):
        VAE.from_pretrained(saved)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_missing_file_is_refused(saved, missing):
    (saved / missing).unlink()
    with pytest.raises(BadInput, match="no whole model"):
        VAE.from_pretrained(saved)


def test_weights_of_another_shape_are_refused(saved):
    _rewrite_config(saved, latent=6)
    with pytest.raises(BadInput, match="do not match"):
        VAE.from_pretrained(saved)


def test_more_or_fewer_weights_are_refused(saved):
    path = saved / "model.safetensors"
    state = safetensors.torch.load_file(path)
    safetensors.torch.save_file({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match="extra"):
        VAE.from_pretrained(saved)
    del state["sigma"]
    safetensors.torch.save_file(state, path)
    with pytest.raises(BadInput, match="sigma"):
        VAE.from_pretrained(saved)


def test_weights_that_are_no_numbers_are_refused(saved):
    path = saved / "model.safetensors"
    state = safetensors.torch.load_file(path)
    state["sigma"].fill_(torch.nan)
    safetensors.torch.save_file(state, path)
    with pytest.raises(BadInput, match="no numbers"):
        VAE.from_pretrained(saved)


def test_a_pickle_is_never_opened(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (saved / "model.safetensors").unlink()
    (saved / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput):
        VAE.from_pretrained(saved)
    (saved / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput):
        VAE.from_pretrained(saved)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 7), ("size", 64.0), ("size", True), ("channels", 2), ("channels", 4), ("latent", 0), ("latent", 513),
        ("widths", ()), ("widths", (12,)), ("widths", (8,) * 7), ("widths", "64"), ("stem", 3), ("stem", 16),
        ("likelihood", "laplace"), ("sigma_floor", 0), ("sigma_floor", float("nan")), ("sigma_floor", "x"), ("adaptive_norm", 1),
    ],
)  # fmt: skip
def test_config_names_what_is_wrong(field, value):
    with pytest.raises(BadInput, match=field):
        VAEConfig(**{field: value})


def test_an_adaptive_norm_is_group_norm_times_gain_plus_bias_of_the_style():
    norm, x, style = Norm(16, is_adaptive=True), torch.randn(3, 16, 4, 4), torch.randn(3, STYLE)
    gain, bias = (style @ norm.modulation.weight.T + norm.modulation.bias).split(16, dim=1)
    groups = x.view(3, 8, -1)  # of two channels each
    whitened = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
    expected = whitened.view_as(x) * (1 + gain[..., None, None]) + bias[..., None, None]
    torch.testing.assert_close(norm(x, style), expected, atol=1e-5, rtol=1e-4)


def test_a_config_from_before_adaptive_norms_is_a_model_without(tmp_path):
    plain = VAE(dataclasses.replace(SMALL, adaptive_norm=False))
    plain.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("adaptive_norm") is False
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert VAE.from_pretrained(tmp_path).config == plain.config


@pytest.mark.parametrize("looks", [1, 2])
def test_a_second_look_corrects_nothing_at_first_and_then_what_its_head_says(looks):
    torch.manual_seed(0)
    vae, x = VAE(dataclasses.replace(SMALL, looks=looks)), torch.rand(4, 3, 12, 12)
    once = vae.encoder(x)
    torch.testing.assert_close(vae.encode(x).mean, once.mean)
    torch.testing.assert_close(vae.encode(x).logvar, once.logvar)
    with torch.no_grad():
        vae.look.head.bias[:5] = 0.5
        vae.look.head.bias[5:] = -0.25
    again = vae.encode(x)
    torch.testing.assert_close(again.mean, once.mean + 0.5 * looks)
    torch.testing.assert_close(again.logvar, once.logvar - 0.25 * looks)


def test_a_second_look_sees_what_the_decoder_made_of_the_first_answer():
    torch.manual_seed(0)
    vae, x = VAE(dataclasses.replace(SMALL, looks=1)), torch.rand(4, 3, 12, 12)
    seen = []
    vae.look.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    vae.encode(x)
    made = vae.decode(vae.encoder(x).mean)
    torch.testing.assert_close(seen[0], torch.cat([x, made, 4 * (x - made)], dim=1))
    vae(x, torch.Generator().manual_seed(0))[1].mean.sum().backward()
    assert all(parameter.grad is None for parameter in vae.decoder.parameters())  # the first answer teaches it nothing
    assert vae.encoder.head.weight.grad.abs().sum() > 0
    assert vae.look.head.bias.grad.abs().sum() > 0


def test_forward_gives_what_a_training_step_needs(model):
    x, noise = torch.rand(4, 3, 12, 12), torch.randn(4, 5)
    logits, posterior = model(x, noise=noise)
    torch.testing.assert_close(logits, model.decode_logits(posterior.mean + noise * (0.5 * posterior.logvar).exp()))
    torch.testing.assert_close(torch.sigmoid(model(x)[0]), model.decode(model.encode(x).mean))  # the mode
    first, again = (model(x, torch.Generator().manual_seed(1))[0] for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, model(x)[0])


def test_pictures_that_would_be_divided_twice_are_refused(model):
    floats = np.random.default_rng(0).random((2, 12, 12, 3), dtype=np.float32)
    for pictures in (floats, floats[0], np.zeros((12, 12, 3), np.uint8), np.zeros((2, 12, 12), np.uint8)):
        with pytest.raises(BadInput, match="Pictures are"):
            posterior_of(model, pictures)


def test_no_pictures_have_no_latents_and_no_latents_no_pictures(model):
    assert posterior_of(model, np.zeros((0, 12, 12, 3), np.uint8)).mean.shape == (0, 5)
    assert decoded(model, torch.zeros(0, 5)).shape == (0, 12, 12, 3)


def test_a_config_that_asks_for_gigabytes_takes_no_memory(saved):
    _rewrite_config(saved, size=256, latent=512, widths=[1024] * 6, stem=1)
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInput, match="do not match"):
        VAE.from_pretrained(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes; the network has 40 GB


@pytest.mark.parametrize("config", ['{"size": ' * 10_000, "[" * 100_000, '"\\ud800"', "\x00", "[]", "null"])
def test_nonsense_for_a_config_is_a_sentence(saved, config):
    (saved / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        VAE.from_pretrained(saved)
    assert len(str(refused.value)) < 300


def test_weights_of_other_types_are_refused(saved):
    path = saved / "model.safetensors"
    state = safetensors.torch.load_file(path)
    safetensors.torch.save_file({**state, "sigma": state["sigma"].to(torch.float8_e4m3fn)}, path)
    with pytest.raises(BadInput, match="F8_E4M3"):
        VAE.from_pretrained(saved)


@pytest.mark.parametrize("source", ["/nonexistent/folder", "typo", "a/b/c", ""])
def test_what_is_not_there_is_a_sentence(source):
    with pytest.raises(BadInput, match="no whole model"):
        VAE.from_pretrained(source)


def test_the_network_is_one_graph_and_trains_in_parallel(model, tmp_path):
    x, noise = torch.rand(4, 3, 12, 12), torch.randn(4, 5)
    wanted = model(x, noise=noise)[0]
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # what any backend would be given
    torch.testing.assert_close(compiled(x, noise=noise)[0], wanted)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        logits, posterior = parallel(x, noise=noise)
        torch.testing.assert_close(logits, wanted)
        (logits.square().sum() + posterior.kl().sum()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
    finally:
        torch.distributed.destroy_process_group()
