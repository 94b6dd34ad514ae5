"""Training keeps its promises: the same weights after a pause, a step back after a blow-up, words for bad recipes."""

import numpy as np
import pytest
import torch

from vae import data
from vae.errors import BadInput
from vae.measure import evaluation
from vae.model import VAEConfig
from vae.recipe import TrainConfig
from vae.training import train

TINY = TrainConfig(
    data="none", steps=40, batch=16, rate=3e-3, flip=True, seed=5, ema=0.9,
    model=VAEConfig(size=8, channels=1, latent=3, widths=(8,), stem=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Grey squares of a random brightness: one number says it all."""
    brightness = np.random.default_rng(0).integers(40, 216, (100, 1, 1, 1))
    return np.broadcast_to(brightness, (100, 8, 8, 1)).astype(np.uint8)


def last_of(run):
    *_, last = run
    return last


def weights(progress):
    return torch.cat([tensor.flatten() for tensor in progress.model.state_dict().values()])


def after(calls):
    """A stop that says yes from its n-th call on."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


@pytest.fixture(scope="module")
def digits() -> tuple[TrainConfig, np.ndarray]:
    model = VAEConfig(size=28, channels=1, latent=4, widths=(8, 16), stem=4, likelihood="bernoulli")
    config = TrainConfig(data="digits-small", steps=120, batch=32, rate=5e-3, model=model)
    return config, data.load("digits-small", size=28, channels=1)[0].images[:1000]


def test_it_learns(digits):
    progress = [*train(*digits, report_seconds=0, device="cpu")]
    assert progress[-1].reconstruction < progress[0].reconstruction - 200
    assert progress[-1].kl > 1
    assert progress[-1].done
    assert progress[-1].is_whole
    assert progress[-1].step == 120
    assert progress[-1].unit_kl.sum() == pytest.approx(progress[-1].kl, rel=1e-4)


def test_the_same_seed_gives_the_same_weights(pictures):
    first, second = (weights(last_of(train(TINY, pictures, device="cpu"))) for _ in range(2))
    assert torch.equal(first, second)
    other = weights(last_of(train(TINY.override(seed=6), pictures, device="cpu")))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("stop_at", [1, 6, 23])  # within the first epoch, at its end, and later
def test_resuming_equals_never_stopping(pictures, tmp_path, stop_at):
    run_file = tmp_path / "model.run"
    half = last_of(train(TINY, pictures, run_file=run_file, stop=after(stop_at), device="cpu"))
    assert (half.step, half.done, half.is_whole) == (stop_at, True, False)
    whole = last_of(train(TINY, pictures, run_file=run_file, resume=True, device="cpu"))
    assert whole.is_whole
    assert torch.equal(weights(whole), weights(last_of(train(TINY, pictures, device="cpu"))))


def test_resuming_a_run_that_is_over_changes_nothing(pictures, tmp_path):
    run_file = tmp_path / "model.run"
    first = last_of(train(TINY, pictures, run_file=run_file, device="cpu"))
    again = last_of(train(TINY, pictures, run_file=run_file, resume=True, device="cpu"))
    assert torch.equal(weights(first), weights(again))
    assert again.reconstruction == first.reconstruction


def test_a_run_file_of_another_recipe_is_refused(pictures, tmp_path):
    run_file = tmp_path / "model.run"
    last_of(train(TINY, pictures, run_file=run_file, device="cpu"))
    with pytest.raises(BadInput, match="another recipe"):
        last_of(train(TINY.override(beta=2.0), pictures, run_file=run_file, resume=True))
    run_file.write_bytes(b"half of a fi")
    with pytest.raises(BadInput, match="cannot be read"):
        last_of(train(TINY, pictures, run_file=run_file, resume=True))


def test_a_full_disk_leaves_the_old_run_file(pictures, tmp_path, monkeypatch):
    run_file = tmp_path / "model.run"
    last_of(train(TINY, pictures, run_file=run_file, device="cpu"))
    before = run_file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        last_of(train(TINY, pictures, run_file=run_file, resume=True, device="cpu"))
    assert run_file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.run"]


def test_a_blow_up_steps_back_and_goes_on(pictures, monkeypatch):

    from vae import run as runs

    calls = iter(range(10**6))
    real = runs.negative_elbo

    def sometimes_nan(*args, **kwargs):
        terms = real(*args, **kwargs)
        bad = next(calls) == 20
        return runs.dataclasses.replace(terms, loss=terms.loss * (torch.nan if bad else 1))

    monkeypatch.setattr(runs, "negative_elbo", sometimes_nan)
    progress = [*train(TINY, pictures, device="cpu", report_seconds=0)]
    assert sum("no number" in p.note for p in progress) == 1
    assert progress[-1].step == 40
    assert weights(progress[-1]).isfinite().all()


def test_a_hopeless_rate_is_named(pictures):
    hopeless = TINY.override(rate=10.0, clip=1e9, steps=300, warmup=0.0)
    try:
        end = last_of(train(hopeless, pictures, device="cpu", report_seconds=0))
        assert weights(end).isfinite().all()
    except BadInput as error:
        assert "smaller rate" in str(error)


def test_ends_on_minutes_and_on_epochs(pictures):
    timed = last_of(train(TINY.override(minutes=0.01), pictures, device="cpu"))
    assert timed.is_whole
    assert timed.seconds >= 0.6
    assert last_of(train(TINY.override(epochs=2), pictures, device="cpu")).step == 2 * (100 // 16)
    assert last_of(train(TINY.override(epochs=0.01), pictures, device="cpu")).step == 1


def test_previews_have_the_form_of_pictures(pictures):
    end = last_of(train(TINY, pictures, preview=pictures[:7], device="cpu"))
    assert end.made_again.shape == end.dreamt.shape == (7, 8, 8, 1)
    assert end.made_again.dtype == np.uint8


@pytest.mark.gpu
def test_gpu_learns_as_the_cpu_does(digits):
    def learnt(**where) -> float:
        return evaluation.evaluate(last_of(train(*digits, **where)).model, digits[1])["reconstruction"]

    on_cpu = learnt(device="cpu")
    for precision in ("fp32", "bf16"):
        assert learnt(device="cuda", precision=precision) == pytest.approx(on_cpu, rel=0.05)


def test_recipe_survives_its_text():
    config = TrainConfig(
        data="digits", framing="digit", minutes=1.5, flip=True, model=VAEConfig(size=28, channels=1, stem=2),
        card={"title": 'Quotes " and \\ and ünï', "about": "two\nlines"},
    )  # fmt: skip
    assert TrainConfig.from_toml(config.to_toml()) == config


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("data = ", "TOML"),
        ("steps = 3", "data"),
        ('data = "x"', "exactly one"),
        ('data = "x"\nsteps = 3\nminutes = 1', "exactly one"),
        ('data = "x"\nsteps = 3\nbeta = -1', "beta"),
        ('data = "x"\nsteps = 3\nbeta = nan', "beta"),
        ('data = "x"\nsteps = 3\nbatch = 1.5', "batch"),
        ('data = "x"\nsteps = 3\nspeed = 1', "speed"),
        ('data = "x"\nsteps = 3\nframing = "round"', "framing"),
        ('data = "x"\nsteps = 3\nframing = [1]', "framing"),
        ('data = "x"\nsteps = 3\n[model]\nlatent = 0', "latent"),
        ('data = "x"\nsteps = 3\n[card]\ncolour = "red"', "colour"),
    ],
)
def test_recipes_are_refused_by_name(text, word):
    with pytest.raises(BadInput, match=word):
        TrainConfig.from_toml(text)


def test_pictures_of_another_form_are_refused(pictures):
    with pytest.raises(BadInput, match="recipe wants"):
        next(train(TINY, pictures[:, :4]))
    with pytest.raises(BadInput, match="at least two"):
        next(train(TINY, pictures[:1]))
