"""Training keeps its promises: the same weights after a pause, a step back after a blow-up, words for bad recipes."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae import training
from vae.device import noise_of
from vae.errors import BadInput
from vae.latents import sample_normal
from vae.measure import evaluation
from vae.model import VAE, Posterior, VAEConfig, to_tensor
from vae.pictures import sets
from vae.recipe import Sharpen, TrainConfig
from vae.runs import report, state
from vae.runs import run as runs_run
from vae.runs.run import Run
from vae.training import Steps, batch_of, schedule, train

TINY = TrainConfig(
    data="none", steps=40, batch=16, learning_rate=3e-3, flip=True, seed=5, ema=0.9,
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
    config = TrainConfig(data="digits-small", steps=120, batch=32, learning_rate=5e-3, model=model)
    return config, sets.load("digits-small", size=28, channels=1)[0].images[:1000]


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


def test_a_run_of_another_recipe_is_refused_and_says_in_what(pictures, tmp_path):
    run_file = tmp_path / "model.run"
    last_of(train(TINY, pictures, run_file=run_file, device="cpu"))
    other = TINY.override(beta=2.0, sharpen_pixel=0.5)
    with pytest.raises(BadInput, match=r"beta is 2\.0, was 1\.0, sharpen_pixel is 0\.5, was 0\.2"):
        last_of(train(other, pictures, run_file=run_file, resume=True))
    run_file.write_bytes(b"half of a fi")
    with pytest.raises(BadInput, match="cannot be read"):
        last_of(train(TINY, pictures, run_file=run_file, resume=True))


def test_a_run_of_nans_or_of_another_network_is_not_taken_up(pictures, tmp_path):
    run_file = tmp_path / "model.run"
    last_of(train(TINY, pictures, run_file=run_file, device="cpu"))
    with safe_open(run_file, "pt") as file:
        tensors, meta = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    first = next(name for name in tensors if name.startswith("adam"))
    poisoned = {**tensors, "model.sigma": torch.tensor(torch.nan)}
    fewer = {name: tensor for name, tensor in tensors.items() if name != first}
    for wrong in (poisoned, fewer):
        safetensors.torch.save_file(wrong, run_file, meta)
        with pytest.raises(BadInput, match="another network, or damaged"):
            last_of(train(TINY, pictures, run_file=run_file, resume=True))


def test_a_run_is_resumed_on_its_own_pictures_only(pictures, tmp_path):
    run_file = tmp_path / "model.run"
    last_of(train(TINY, pictures, run_file=run_file, device="cpu"))
    for others in (pictures[::-1], np.where(pictures > 128, pictures, pictures + 1)):  # as many, but not the same
        with pytest.raises(BadInput, match="other pictures"):
            last_of(train(TINY, others, run_file=run_file, resume=True))


def test_a_run_that_is_over_can_be_made_longer(pictures, tmp_path):
    run_file = tmp_path / "model.run"
    last_of(train(TINY, pictures, run_file=run_file, device="cpu"))
    longer = last_of(train(TINY.override(steps=60), pictures, run_file=run_file, resume=True, device="cpu"))
    assert (longer.step, longer.is_whole) == (60, True)
    assert [row[0] for row in longer.history] == sorted({row[0] for row in longer.history})


def test_nothing_to_resume_is_said_aloud(pictures, tmp_path):
    run_file = tmp_path / "new.run"
    progress = [*train(TINY, pictures, run_file=run_file, resume=True, device="cpu", report_seconds=0)]
    assert "nothing to resume" in progress[0].note
    assert not any(p.note for p in progress[1:])


class Clock:
    """A clock that goes on by a hundredth of a second whenever somebody looks at it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", self.look)

    def look(self) -> float:
        self.now += 0.01
        return self.now


def test_time_that_the_reader_takes_is_not_the_runs(pictures, monkeypatch):
    clock = Clock(monkeypatch)
    seconds, spent = 0.0, 0.0
    for progress in train(TINY.override(minutes=0.05), pictures, device="cpu", report_seconds=0):
        seconds = progress.seconds
        clock.now += 100  # whoever shows the progress takes their time
        spent += 100
    assert 3 <= seconds < 4 < spent


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


def break_at(monkeypatch, *steps: int) -> None:
    """The losses of these steps, counted as they are taken, are no numbers."""
    calls, real = iter(range(10**6)), training.negative_elbo

    def sometimes_nan(*args, **kwargs):
        terms = real(*args, **kwargs)
        return dataclasses.replace(terms, loss=terms.loss * (torch.nan if next(calls) in steps else 1))

    monkeypatch.setattr(training, "negative_elbo", sometimes_nan)


def test_a_blow_up_steps_back_and_goes_on_with_a_smaller_rate(pictures, monkeypatch):
    break_at(monkeypatch, 20)
    rates, real = [], training.set_learning_rate
    monkeypatch.setattr(
        training, "set_learning_rate", lambda optimizer, rate: (rates.append(float(rate)), real(optimizer, rate))
    )
    progress = [*train(TINY, pictures, device="cpu", report_seconds=0)]
    assert sum("no number" in p.note for p in progress) == 1
    assert progress[-1].step == 40
    assert weights(progress[-1]).isfinite().all()
    first, again = rates[:20], rates[21:41]  # the same steps, before and after
    np.testing.assert_allclose(again, 0.3 * np.array(first), rtol=1e-5)


def test_each_blow_up_lowers_the_rate_further_and_goes_back_to_the_last_snapshot(pictures, monkeypatch):
    monkeypatch.setattr(runs_run, "SNAPSHOT_STEPS", 5)
    break_at(monkeypatch, 13, 20)  # steps 13, and 17: it is counted on from step 10
    progress = [*train(TINY, pictures, device="cpu", report_seconds=0)]
    notes = [p.note for p in progress if p.note]
    assert [note.split(": ")[1] for note in notes] == [
        "back to step 10 with 0.3 of the learning rate.",
        "back to step 15 with 0.09 of the learning rate.",
    ]
    assert [p.step for p in progress] == [*range(1, 14), *range(11, 17), *range(16, 41), 40]
    end = progress[-1]
    steps = [row[0] for row in end.history]
    assert steps == sorted(set(steps)) and steps[-1] == 40  # what was undone is forgotten
    for p in progress[-26:-1]:
        assert p.learning_rate == pytest.approx(0.09 * schedule(TINY, (p.step - 1) / 40).learning_rate)
    assert end.is_whole and end.fraction == 1


def test_what_a_run_has_been_through_is_put_down_with_it(pictures, tmp_path):
    run, again = (Run(TINY, torch.device("cpu")) for _ in range(2))
    Steps(run, TINY, torch.from_numpy(pictures), torch.float32).take(schedule(TINY, 0.5))
    run.seconds, run.rate_scale, run.rollbacks, run.history = 12.5, 0.09, 2, [[1, 2.0, 3.0]]
    state.save(run, tmp_path / "run", TINY, "these")
    # How a model is shown, and when its run ends, may change in between; what it learns may not.
    other = dataclasses.replace(
        TINY, steps=50, card={"title": "Other"}, show_data=False, start="a.png", categories={"hair": ["a", "b"]}
    )
    state.load(again, tmp_path / "run", other, "these")
    for name in ("step", "seconds", "rate_scale", "rollbacks", "history"):
        assert getattr(again, name) == getattr(run, name), name
    for name, tensor in run.tensors().items():
        assert torch.equal(again.tensors()[name], tensor), name
    assert run.is_finite() and any(t.numel() and bool(t.any()) for n, t in again.tensors().items() if "exp_avg" in n)
    with pytest.raises(BadInput, match="other pictures"):
        state.load(again, tmp_path / "run", TINY, "those")


def test_a_run_that_is_killed_is_kept_as_of_its_last_minute(pictures, tmp_path, monkeypatch):
    run_file = tmp_path / "model.run"
    for progress in train(TINY, pictures, run_file=run_file, device="cpu", report_seconds=0):
        assert not run_file.exists() or progress.done  # a minute has not passed
    run_file.unlink()
    monkeypatch.setattr(training, "SAVE_SECONDS", 0)
    for progress in train(TINY, pictures, run_file=run_file, device="cpu", report_seconds=0):
        if progress.step == 10:
            break  # without a word to the run
    monkeypatch.undo()
    again = [*train(TINY, pictures, run_file=run_file, resume=True, device="cpu", report_seconds=0)]
    assert again[0].step == 11
    assert torch.equal(weights(again[-1]), weights(last_of(train(TINY, pictures, device="cpu"))))


def test_a_run_begins_from_its_seed_and_leaves_all_other_chance_alone():
    before = torch.get_rng_state()
    run, other = Run(TINY, torch.device("cpu")), Run(TINY.override(seed=6), torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    for mine, average in zip(run.model.parameters(), run.average.parameters(), strict=True):
        assert torch.equal(mine, average) and mine.requires_grad and not average.requires_grad
    assert run.model.training and not run.average.training
    assert any(not torch.equal(a, b) for a, b in zip(run.model.parameters(), other.model.parameters(), strict=True))
    draws = {tuple(torch.randn(2, generator=noise_of(seed, step)).tolist()) for seed in (5, 6) for step in range(-3, 4)}
    assert len(draws) == 14  # every step and every epoch has noise of its own


def test_a_hopeless_rate_is_named(pictures, monkeypatch):
    monkeypatch.setattr(training, "negative_elbo", lambda *_, real=training.negative_elbo, **options: dataclasses.replace(
        (terms := real(*_, **options)), loss=terms.loss * torch.nan
    ))  # fmt: skip
    with pytest.raises(BadInput, match=r"7 times; try a learning_rate under 0\.003"):
        last_of(train(TINY, pictures, device="cpu", report_seconds=0))


def test_the_schedule_is_a_line_then_half_a_cosine_in_each_phase():
    recipe = TINY.override(warmup=0.1, kl_warmup=0.2, beta=4.0, sharpen_share=0.5, sharpen_learning_rate=1e-4)
    full = {False: 3e-3, True: 1e-4}
    for fraction in np.linspace(0, 0.999, 200):
        now = schedule(recipe, fraction)
        progress = fraction / 0.5 % 1
        line, cosine = (progress + 1e-3) / 0.101, (1 + np.cos(np.pi * (progress - 0.1) / 0.9)) / 2
        assert now.is_sharpening == (fraction >= 0.5)
        wanted = full[now.is_sharpening] * (line if progress < 0.1 else cosine)
        assert now.learning_rate == pytest.approx(wanted, rel=1e-6, abs=1e-12)
        assert now.beta == pytest.approx(4.0 if now.is_sharpening else 4.0 * min(1, progress / 0.2), rel=1e-6)
    assert schedule(recipe.override(kl_warmup=0.0), 0.0).beta == 4.0


def test_half_of_a_batch_is_mirrored_where_the_recipe_says_so(pictures):
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))
    mirrored = torch.tensor([True, False, True, False])
    x = batch_of(TINY, {"rows": rows, "mirrored": mirrored})
    wanted = np.stack([np.fliplr(picture) if m else picture for picture, m in zip(rows.numpy(), mirrored, strict=True)])
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), wanted / 255, atol=1e-6)
    plain = batch_of(TINY.override(flip=False), {"rows": rows, "mirrored": mirrored})
    np.testing.assert_allclose(plain.permute(0, 2, 3, 1).numpy(), rows.numpy() / 255, atol=1e-6)
    lit = pictures.copy()
    lit[:, :, :4] = 0  # dark on the left, unless it is mirrored
    for recipe, low, high in ((TINY, 0.35, 0.65), (TINY.override(flip=False), 0, 0)):
        batches = learnt_from(recipe, lit, 12)
        torch.manual_seed(1)
        assert all(map(torch.equal, batches, learnt_from(recipe, lit, 12)))  # and none but the seed's
        assert [batch.shape for batch in batches] == [(16, 1, 8, 8)] * 12
        turned = torch.stack([batch[:, 0, 0, 0] > 0 for batch in batches])
        assert low <= turned.float().mean() <= high
        assert not high or len(turned.unique(dim=0)) > 10  # each step throws its own coins


def learnt_from(recipe: TrainConfig, pictures: np.ndarray, count: int, first: int = 0) -> list[torch.Tensor]:
    """What the encoder sees in so many steps of a run, from the first one on."""
    run, seen = Run(recipe, torch.device("cpu")), []
    run.step = first
    steps = Steps(run, recipe, torch.from_numpy(pictures), torch.float32)
    run.model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for _ in range(count):
        steps.take(schedule(recipe, 0.5))
    return seen


def test_an_epoch_shows_each_picture_at_most_once_in_an_order_of_its_own():
    pictures = np.arange(36, dtype=np.uint8).repeat(64).reshape(36, 8, 8, 1)
    recipe = TINY.override(batch=8)  # 4 steps an epoch, and 4 pictures that must wait for the next
    seen = (torch.stack(learnt_from(recipe, pictures, 12))[:, :, 0, 0, 0] * 255).round().int().reshape(3, 32)
    for order in seen:
        assert len(set(order.tolist())) == 32
        assert order.tolist() != sorted(order.tolist())
    assert len({tuple(order) for order in seen.tolist()}) == 3
    assert len(set(seen.flatten().tolist())) == 36
    later = (torch.stack(learnt_from(recipe, pictures, 5, first=7))[:, :, 0, 0, 0] * 255).round().int().flatten()
    assert torch.equal(later, seen.flatten()[7 * 8 :])  # whichever step a run is taken up at
    few = learnt_from(TINY, pictures[:3], 2)  # fewer than a batch holds
    assert [sorted((batch[:, 0, 0, 0] * 255).round().int().tolist()) for batch in few] == [[0, 1, 2]] * 2


def test_the_first_step_is_adams_with_its_rate_and_decay(pictures):
    """Adam's first step is the rate times the gradient's sign, whatever its betas; the decay shrinks weights beside it."""
    recipe = TINY.override(weight_decay=0.3, learning_rate=0.01)
    run = Run(recipe, torch.device("cpu"))
    run.rate_scale = 0.5
    before = [p.detach().clone() for p in run.model.parameters()]
    now = schedule(recipe, 0.2)
    assert 0.005 < now.learning_rate < 0.01
    Steps(run, recipe, torch.from_numpy(pictures), torch.float32).take(now)
    rate = 0.5 * now.learning_rate
    for old, new in zip(before, run.model.parameters(), strict=True):
        wanted = old * (1 - 0.3 * rate) - rate * new.grad / (new.grad.abs() + 1e-8)
        torch.testing.assert_close(new.detach(), wanted, atol=1e-6, rtol=1e-5)


def test_a_step_descends_the_recipes_own_loss(pictures):
    """beta, free bits, noise, weight and likelihood reach the loss: the figures are those of torch.distributions."""
    recipe = dataclasses.replace(
        TINY, beta=3.0, kl_warmup=0.5, free_bits=0.2, flip=False,
        model=dataclasses.replace(TINY.model, likelihood="bernoulli"),
    )  # fmt: skip
    run, kept = Run(recipe, torch.device("cpu")), []
    run.model.encoder.register_forward_hook(lambda _, inputs, posterior: kept.extend((inputs[0], posterior)))
    run.model.decoder.register_forward_hook(lambda _, inputs, logits: kept.extend((inputs[0], logits)))
    weight = np.random.default_rng(0).random(pictures.shape[1:3]) + 1
    found = Steps(run, recipe, torch.from_numpy(pictures), torch.float32, weight).take(schedule(recipe, 0.25))
    x, posterior, z, logits = kept
    told = Normal(posterior.mean, posterior.std())
    noise = ((z - posterior.mean) / posterior.std()).detach()
    assert 0.7 < noise.std() < 1.3 and not torch.equal(noise[0], noise[1])
    unit_kl = kl_divergence(told, Normal(0.0, 1.0)).mean(dim=0)
    each = -Bernoulli(logits=logits, validate_args=False).log_prob(x) * torch.from_numpy(weight).float()
    nats = each.flatten(1).sum(dim=1).mean()
    loss = nats + 1.5 * unit_kl.clamp_min(0.2).sum()  # half of the warm-up is half of beta
    figures = [loss, nats, unit_kl.sum(), found[3], torch.tensor(0.0), *unit_kl]
    torch.testing.assert_close(found, torch.stack(figures).detach(), rtol=1e-4, atol=1e-4)


def test_a_gradient_is_clipped_and_the_norm_before_is_told(pictures):
    norms = {}
    for clip in (1e9, 0.5):
        recipe = TINY.override(clip=clip)
        run = Run(recipe, torch.device("cpu"))
        told = Steps(run, recipe, torch.from_numpy(pictures), torch.float32).take(schedule(recipe, 0.5))[3]
        norms[clip] = torch.stack([p.grad.norm() for p in run.model.parameters()]).norm()
        assert told > 0.5
    assert norms[1e9] == pytest.approx(float(told), rel=1e-4)
    assert norms[0.5] == pytest.approx(0.5, rel=1e-3)


def test_the_averaged_weights_follow_and_buffers_are_taken_over(pictures):
    recipe = TINY.override(ema=0.5)
    run = Run(recipe, torch.device("cpu"))
    steps = Steps(run, recipe, torch.from_numpy(pictures), torch.float32)
    wanted = [p.detach().clone() for p in run.average.parameters()]
    sigma, seen = run.average.sigma.clone(), set()
    for step in range(12):
        steps.take(schedule(recipe, 0.5))
        decay = min(0.5, (1 + step) / (10 + step))  # from the ninth step on the recipe's own
        sigma = decay * sigma + (1 - decay) * run.model.sigma
        seen.add(float(run.model.sigma))
        wanted = [
            decay * old + (1 - decay) * new.detach() for old, new in zip(wanted, run.model.parameters(), strict=True)
        ]
    for mine, theirs in zip(run.average.parameters(), wanted, strict=True):
        torch.testing.assert_close(mine.detach(), theirs)
    torch.testing.assert_close(run.average.sigma, sigma)
    assert len(seen) == 12  # the learning model's is each batch's own


def test_the_heldout_loss_is_the_elbo_of_the_averaged_weights(pictures):
    end = last_of(train(TINY, pictures, heldout=pictures[:30], device="cpu"))
    x = to_tensor(pictures[:30])
    with torch.no_grad():
        posterior = end.model.encode(x)
        noise = torch.randn(30, 3, generator=torch.Generator().manual_seed(TINY.seed))
        z = posterior.mean + noise * (0.5 * posterior.logvar).exp()
        mean = end.model.decode(z)
        sigma = (x - mean).square().mean().sqrt().clamp_min(TINY.model.sigma_floor)
        nats = -Normal(mean, sigma).log_prob(x).flatten(1).sum(1).mean()
        kl = kl_divergence(Normal(posterior.mean, posterior.std()), Normal(0.0, 1.0)).sum(1).mean()
    assert end.heldout == pytest.approx(float(nats + kl), rel=1e-4)
    assert end.metrics()["heldout"] == end.heldout
    assert "heldout" not in last_of(train(TINY, pictures, device="cpu")).metrics()
    assert end.metrics()["step"] == 40


def test_the_heldout_loss_weighs_every_picture_alike():
    """More pictures than go through at once, the last ones unlike the others, in a model that ignores them."""
    recipe = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, likelihood="bernoulli"))
    pictures = np.full((300, 8, 8, 1), 30, np.uint8)
    pictures[250:] = 220
    model = VAE(recipe.model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # the posterior is the prior
        model.decoder.layers[-2].bias.fill_(1.0)  # every logit
    found = report.heldout_loss(model, recipe, torch.from_numpy(pictures))
    assert found == pytest.approx(64 * (np.log(1 + np.e) - pictures.mean() / 255), rel=1e-5)


def test_the_heldout_loss_takes_little_time_and_few_pictures(pictures, monkeypatch):
    few = TINY.override(steps=10)

    def measured(share: float) -> list[int]:
        monkeypatch.setattr(report, "HELDOUT_SHARE", share)
        told = [*train(few, pictures, heldout=pictures[:30], device="cpu", report_seconds=0)]
        return [p.step for p in told if p.heldout is not None]

    assert measured(1e9) == [1, 10]  # at first, and at the end
    assert measured(0) == [*range(1, 11), 10]
    monkeypatch.setattr(report, "HELDOUT_PICTURES", 10)
    end = last_of(train(few, pictures, heldout=pictures[:30], device="cpu"))
    assert end.heldout == report.heldout_loss(end.model, TINY, torch.from_numpy(pictures[:30:3]))


def test_figures_are_means_over_the_steps_since_the_last_report(pictures):
    *each, end = train(TINY, pictures, device="cpu", report_seconds=0)
    once = last_of(train(TINY, pictures, device="cpu", report_seconds=1e9))
    assert [progress.step for progress in each] == list(range(1, 41))
    assert (end.step, end.kl) == (40, each[-1].kl)  # nothing was learnt since
    for name in ("reconstruction", "kl"):
        assert getattr(once, name) == pytest.approx(np.mean([getattr(p, name) for p in each]), rel=1e-4)
    np.testing.assert_allclose(once.unit_kl, np.mean([p.unit_kl for p in each], axis=0), rtol=1e-3, atol=1e-5)
    assert once.history == [[40, once.reconstruction, once.kl]]
    assert end.history == [[p.step, p.reconstruction, p.kl] for p in each]
    assert [p.epoch for p in each] == pytest.approx([p.step / 6 for p in each])


def test_speed_and_time_left_are_told_by_the_runs_own_clock(pictures, monkeypatch):
    clock = Clock(monkeypatch)
    told = []
    for progress in train(TINY, pictures, device="cpu", report_seconds=0.2):
        told.append(progress)
        clock.now += 1000  # the reader's
    *middle, end = told
    assert len(middle) >= 3 and end.fraction == 1 and end.seconds_left == 0
    for before, after in zip(middle, middle[1:], strict=False):
        lasted, taken = after.seconds - before.seconds, after.step - before.step
        assert 5 <= taken <= 12  # the clock is looked at twice a step
        assert after.pictures_per_second == pytest.approx(16 * taken / lasted)
        # what a step takes so far, for those that are left; seconds also counts the making of this very report
        assert after.seconds_left == pytest.approx(after.seconds / after.step * (40 - after.step), rel=0.1)
        assert after.fraction == pytest.approx((after.step - 1) / 40)  # as it was when the last step was begun
    by_minutes = next(train(TINY.override(minutes=2), pictures, device="cpu", report_seconds=0.2))
    assert by_minutes.seconds_left == pytest.approx(120 - by_minutes.seconds, abs=0.1)
    assert by_minutes.fraction == pytest.approx(by_minutes.seconds / 120, abs=0.001)


class Flat(nn.Module):
    """A user's own pair: linear both ways, with running statistics in between."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 6))
        self.decoder = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = Flat().encoder

    def forward(self, x):
        return Posterior(*self.layers(x).chunk(2, dim=1))


def test_networks_of_ones_own_are_trained_saved_and_loaded(pictures, tmp_path):
    torch.manual_seed(0)
    model = VAE(TINY.model, encoder=Own(), decoder=Flat().decoder)
    progress = [*train(TINY.override(steps=120), pictures, model=model, device="cpu", report_seconds=0)]
    end = progress[-1]
    assert end.reconstruction < progress[0].reconstruction - 20
    assert end.model.encoder.layers[1].num_batches_tracked == 120  # statistics ship as they were learnt
    end.model.save_pretrained(tmp_path)
    again = VAE.from_pretrained(tmp_path, encoder=Own(), decoder=Flat().decoder)
    x = to_tensor(pictures[:5])
    torch.testing.assert_close(again.encode(x).mean, end.model.encode(x).mean, atol=0.02, rtol=0.02)
    with pytest.raises(BadInput, match="do not match"):
        VAE.from_pretrained(tmp_path)


def test_ends_on_minutes_and_on_epochs(pictures):
    timed = last_of(train(TINY.override(minutes=0.01), pictures, device="cpu"))
    assert timed.is_whole
    assert timed.seconds >= 0.6
    assert last_of(train(TINY.override(epochs=2), pictures, device="cpu")).step == 2 * (100 // 16)
    assert last_of(train(TINY.override(epochs=0.01), pictures, device="cpu")).step == 1


def test_previews_are_what_the_averaged_weights_draw(pictures):
    few = TINY.override(steps=10)
    told = [*train(few, pictures, preview=pictures[:7], device="cpu", report_seconds=0, preview_seconds=1e9)]
    end = told[-1]
    assert [p.reconstructions is not None for p in told] == [False] * 10 + [True]
    with torch.inference_mode():
        again = end.model.decode(end.model.encode(to_tensor(pictures[:7])).mean)
        drawn = end.model.decode(sample_normal(7, 3, TINY.seed))
    for found, wanted in ((end.reconstructions, again), (end.samples, drawn)):
        assert found.dtype == np.uint8 and found.shape == (7, 8, 8, 1)
        assert np.abs(found - 255 * wanted.permute(0, 2, 3, 1).numpy()).max() <= 0.51
    told = [*train(few, pictures, preview=pictures[:7], device="cpu", report_seconds=0, preview_seconds=0)]
    assert all(p.samples is not None for p in told)
    assert last_of(train(few, pictures, device="cpu")).samples is None


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


def test_a_recipe_of_the_version_before_is_read_out_loud(caplog):
    old = (
        'data = "faces"\nsteps = 9\nrate = 0.0015\nsharpen = 0.6\nsharpen_rate = 0.0008\ncritic_widths = [16, 64]\n'
        "pull_pixel = 0.15\npull_feature = 0.3\npull_adversarial = 0.5\npull_perceptual = 1.0\npull_jury = 2.0\n"
        'teacher_side = 128\nmade_up = "mixture"\n[model]\nlatent = 12\n'
    )
    found = TrainConfig.from_toml(old)
    assert "0.1" in caplog.text
    assert found.sharpen == Sharpen(0.6, 0.0008, (16, 64), 0.15, 0.3, 0.5, 1.0, 2.0, 128, "mixture")
    assert (found.learning_rate, found.split, found.model.adaptive_norm) == (0.0015, "first tenth", False)
    caplog.clear()
    assert TrainConfig.from_toml("\ufeff" + found.to_toml()) == found  # as an editor on Windows saves it
    assert not caplog.text


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
        ('data = "x"\nsteps = 3\ncard = 5', "card"),
        ('data = "x"\nsteps = 3\n[card]\nlicense = ["mit"]', "license"),
        ('data = "x"\nsteps = 3\nsplit = "half"', "split"),
        (f"data = {'[' * 5000}", "TOML"),
        (f'data = "x"\nsteps = 3\n{"y" * 10**6} = 1', "y{40} is no entry"),
    ],
)
def test_recipes_are_refused_by_name(text, word):
    with pytest.raises(BadInput, match=word):
        TrainConfig.from_toml(text)


def test_pictures_of_another_form_are_refused(pictures):
    with pytest.raises(BadInput, match="model wants"):
        next(train(TINY, pictures[:, :4]))
    with pytest.raises(BadInput, match="at least two"):
        next(train(TINY, pictures[:1]))
    assert next(train(TINY, pictures[:2], device="cpu", report_seconds=0)).step == 1


def test_the_order_of_an_epoch_and_a_step_have_chance_of_their_own():
    first = torch.randperm(1000, generator=noise_of(5, -1))  # as the first epoch's order is drawn
    for step in (0, 1):
        assert not torch.equal(first, torch.randperm(1000, generator=noise_of(5, step)))
    pictures = np.zeros((32, 8, 8, 1), np.uint8)
    run = Run(TINY, torch.device("cpu"))
    steps = Steps(run, TINY, torch.from_numpy(pictures), torch.float32)
    for epoch in range(3):
        run.step = 2 * epoch
        steps.take(schedule(TINY, 0.5))
        assert torch.equal(steps.order, torch.randperm(32, generator=noise_of(TINY.seed, -1 - epoch)))


def test_bf16_is_another_precision(pictures):
    short = TINY.override(steps=3)
    fine, coarse = (weights(last_of(train(short, pictures, device="cpu", precision=p))) for p in ("fp32", "bf16"))
    assert not torch.equal(fine, coarse)
    torch.testing.assert_close(fine, coarse, atol=0.05, rtol=0.1)
