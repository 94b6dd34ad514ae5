"""The critic against definitions written out, and a decoder that learns from it what pixels cannot teach."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from vae.errors import BadInput
from vae.measure import features
from vae.model import VAEConfig, to_tensor
from vae.recipe import Sharpen, TrainConfig
from vae.runs import run as runs_run
from vae.runs.recorded import Recorded
from vae.runs.run import Run
from vae.sharpen import step, teacher
from vae.sharpen.critic import Critic, Critics, Judged, Jury, _jury_losses, judge, shifted
from vae.training import train, vae_step

PULLS = Sharpen(pixel=1.0, feature=0.4, adversarial=0.6)
SHIFT = torch.tensor([3, -2])


def pulls(**given) -> Sharpen:
    """These pulls, and no other."""
    return Sharpen(**{"pixel": 0.0, "feature": 0.0, "adversarial": 0.0, **given})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def critics() -> Critics:
    torch.manual_seed(0)
    return Critics(3, Sharpen(critic_widths=(8, 16))).train()


def made_to_tell(critic: Critic, real: torch.Tensor, drawn: torch.Tensor) -> None:
    """A critic that knows nothing is not listened to: this turns its verdict's sign and size to the right side."""
    with torch.no_grad():
        margin = critic(real)[0].mean() - critic(drawn)[0].mean()
        critic.verdict.weight.mul_(0.5 / margin)


def test_losses_compare_pairs_and_gradients_are_autograds(critics):
    real = torch.rand(4, 3, 16, 16, generator=generator())
    drawn = torch.rand(6, 3, 16, 16, generator=generator(3))
    critic, judged = critics.critic, judge(critics, real, drawn, SHIFT, PULLS, penalty=2.0)
    seen_drawn, seen_real = shifted([drawn, real], SHIFT)
    pairs = [(seen_real[i % 4], seen_drawn[i]) for i in range(6)]
    apart = torch.stack([critic(one[None])[0] - critic(other[None])[0] for one, other in pairs])
    loss = torch.log1p(torch.exp(-apart)).mean()
    torch.testing.assert_close(judged.critic_loss, loss.detach())
    slope = 0.0
    for picture in [*seen_real, *seen_drawn[:4]]:  # R1 and R2, one by one, by hand
        picture = picture.detach()[None].requires_grad_(True)
        (gradient,) = torch.autograd.grad(critic(picture)[0].mean(), picture, create_graph=True)
        slope = slope + gradient.square().sum() / 2 / 4
    expected = torch.autograd.grad(loss + 2.0 * slope, list(critic.parameters()))
    for ours, theirs in zip(judged.critics_gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_each_pull_alone_goes_its_own_way(critics):
    real = torch.rand(4, 3, 16, 16, generator=generator())
    drawn = 0.5 * F.avg_pool2d(real, 3, 1, 1)
    made_to_tell(critics.critic, real, drawn)
    names = ("pixel", "feature", "adversarial")
    alone = {name: judge(critics, real, drawn, SHIFT, pulls(**{name: 1.0})).pull for name in names}
    pixels = drawn.shape[1:].numel()
    loss = float(judge(critics, real, drawn, SHIFT, PULLS).critic_loss)
    trust = 1 - loss / math.log(2)
    assert 0 < trust < 1
    for name, pull in alone.items():
        size = 1 if name == "pixel" else trust
        assert float(pull.square().mean().sqrt()) == pytest.approx(size / pixels, rel=1e-3)
    cosine = F.cosine_similarity(alone["pixel"].flatten(), (drawn - real).flatten(), dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-5)
    nearer = drawn - 0.01 * pixels * alone["adversarial"]  # a step down the pull is a step towards "real"
    against = [F.softplus(critics.critic(real)[0] - critics.critic(x)[0]).mean() for x in (nearer, drawn)]
    assert against[0] < against[1]
    both = judge(critics, real, drawn, SHIFT, pulls(pixel=2.0, adversarial=1.0)).pull
    torch.testing.assert_close(both, 2 * alone["pixel"] + alone["adversarial"])


def test_edges_pull_towards_pixels_and_steps_of_the_original(critics):
    """The pull is the gradient of sums over all pixels and pairs of neighbours, written out one by one in numpy."""
    real = torch.rand(2, 3, 6, 6, generator=generator()).double()
    drawn = torch.rand(3, 3, 6, 6, generator=generator(3)).double()
    weight = torch.rand(6, 6, generator=generator(5)).double() + 0.5
    apart, root = (drawn[:2] - real).numpy(), weight.sqrt().numpy()
    sign = np.zeros_like(apart)
    for row, column in np.ndindex(6, 6):
        sign[..., row, column] += root[row, column] * np.sign(apart[..., row, column])
        for near in ((row - 1, column), (row, column - 1)):
            if min(near) >= 0:
                step = root[row, column] * np.sign(apart[..., row, column] - apart[:, :, near[0], near[1]])
                sign[..., row, column] += step
                sign[:, :, near[0], near[1]] -= step
    pull = judge(critics.double(), real, drawn, SHIFT, pulls(edges=2.0), weight=weight).pull
    expected = 2 * sign / np.sqrt(np.square(sign).mean()) / drawn[0].numel()
    np.testing.assert_allclose(pull[:2].numpy(), expected, atol=1e-12)
    assert (pull[2:] == 0).all()


def test_where_an_outline_may_lie_here_or_there_edges_choose_and_squares_blur():
    """Two of three originals end at one column, the third two columns on; one picture is drawn for all three."""
    real = torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    real[:, :, :, :3] = 1
    real[2, :, :, :5] = 1
    nobody = Critics(1, pulls())
    found = {}
    for name in ("pixel", "edges"):
        drawn = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64)
        for turn in range(400):
            pull = judge(nobody, real, drawn.expand(3, -1, -1, -1), SHIFT, pulls(**{name: 1.0})).pull.sum(
                0, keepdim=True
            )
            drawn = drawn - 3 * 0.985**turn * pull
        found[name] = drawn[0, 0, 4, :].numpy()
    np.testing.assert_allclose(found["pixel"], [1, 1, 1, 1 / 3, 1 / 3, 0, 0, 0], atol=0.05)
    np.testing.assert_allclose(found["edges"], [1, 1, 1, 0, 0, 0, 0, 0], atol=0.05)


def test_a_run_without_a_critic_teaches_the_decoder_alone_and_resumes(tmp_path):
    pictures = stripes()
    recipe = CONFIG.override(sharpen_pixel=0.0, sharpen_edges=1.0, sharpen_feature=0.0, sharpen_adversarial=0.0)
    recipe = recipe.override(sharpen_unpaired="mixture")  # that nobody will ask for
    *_, whole = train(recipe, pictures, device="cpu", run_file=tmp_path / "whole")
    taken = iter(range(100))
    *_, part = train(recipe, pictures, device="cpu", run_file=tmp_path / "run", stop=lambda: next(taken) > 37)
    assert not part.is_whole and part.critic_loss == 0
    *_, again = train(recipe, pictures, device="cpu", run_file=tmp_path / "run", resume=True)
    states = [weights(progress) for progress in (whole, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    *_, plain = train(CONFIG.override(steps=30, sharpen_share=0.0, ema=0.0), pictures, device="cpu")
    *_, sharp = train(recipe.override(ema=0.0), pictures, device="cpu")
    same = {name: torch.equal(weights(plain)[name], weights(sharp)[name]) for name in weights(plain)}
    assert {name for name, is_same in same.items() if not is_same and name.startswith("encoder.")} == set()


def test_pictures_without_an_original_are_pulled_by_the_verdict_alone(critics):
    real = torch.rand(4, 3, 16, 16, generator=generator())
    drawn = 0.5 * torch.rand(6, 3, 16, 16, generator=generator(3))
    made_to_tell(critics.critic, real, drawn)
    pull = judge(critics, real, drawn, SHIFT, pulls(pixel=1.0, feature=1.0)).pull
    assert (pull[4:] == 0).all()
    assert (pull[:4].flatten(1).norm(dim=1) > 0).all()


def test_a_critic_that_cannot_tell_is_not_listened_to(critics):
    real, drawn = torch.rand(2, 4, 3, 16, 16, generator=generator()).unbind(0)
    with torch.no_grad():
        critics.critic.verdict.weight.zero_()
    judged = judge(critics, real, drawn, SHIFT, pulls(feature=1.0, adversarial=1.0))
    assert float(judged.critic_loss) == pytest.approx(math.log(2))
    assert float(judged.pull.abs().max()) < 1e-6


@pytest.mark.skipif(not features.has_network(features.TEACHER), reason="the teacher is not installed")
def test_the_perceptual_loss_is_descended_and_only_that(critics):
    real = torch.rand(2, 3, 64, 64, generator=generator())
    drawn = F.avg_pool2d(real, 5, 1, 2)
    drawn = torch.cat([drawn, drawn[:1]])
    judged = judge(critics, real, drawn, SHIFT, pulls(perceptual=1.0))
    assert (judged.pull[2:] == 0).all()  # has no original
    assert float(judged.pull[:2].square().mean().sqrt()) == pytest.approx(1 / drawn[0].numel(), rel=1e-3)
    nearer = drawn - 0.02 * drawn[0].numel() * judged.pull
    before, after = (float(teacher.perceptual_loss(x[:2], real)) for x in (drawn, nearer))
    assert after < before
    assert float(teacher.perceptual_loss(real, real)) == pytest.approx(0, abs=1e-4)


@pytest.mark.skipif(not features.has_network(features.TEACHER), reason="the teacher is not installed")
def test_the_jury_sees_maps_in_pairs_and_pulls_every_drawn_picture():
    torch.manual_seed(0)
    asks = pulls(jury=2.0, teacher_size=32)
    critics = Critics(3, asks)
    jury = critics.jury
    assert critics.critic is None  # a jury alone: nobody asks for a critic
    real = torch.rand(2, 3, 16, 16, generator=generator())
    drawn = F.avg_pool2d(torch.cat([real, real[:1].flip(3)]), 5, 1, 2)

    def asked(of: torch.Tensor) -> Judged:
        return judge(critics, real, of, SHIFT, asks)

    def scores() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """By hand: maps of pictures brought to 32 pixels, divided by the real ones' size."""
        seen_drawn, seen_real = shifted([drawn, real], SHIFT)
        maps = [
            teacher.feature_maps(F.interpolate(x, size=(32, 32), mode="bilinear"), is_whole=True)
            for x in (seen_real, seen_drawn)
        ]
        assert tuple(m.shape[1] for m in maps[0]) == teacher.CHANNELS
        sizes = [m.square().mean().sqrt() for m in maps[0]]
        return tuple(jury([m / size for m, size in zip(part, sizes, strict=True)]) for part in maps)

    learning = list(jury.parameters())
    adam = torch.optim.Adam(learning, 3e-3)
    for _ in range(12):  # a jury that knows nothing is not listened to
        for parameter, gradient in zip(learning, asked(drawn).critics_gradients[-len(learning) :], strict=True):
            parameter.grad = gradient
        adam.step()
    judged = asked(drawn)
    on_real, on_drawn = scores()
    pairs = (0, 1, 0)
    apart = [
        torch.stack([one[i] - other[row] for row, i in enumerate(pairs)])
        for one, other in zip(on_real, on_drawn, strict=True)
    ]
    loss = torch.stack([F.softplus(-part).mean() for part in apart]).mean()
    trust = 1 - loss.item() / math.log(2)
    assert 0 < trust < 1
    assert float(judged.pull.square().mean().sqrt()) == pytest.approx(2 * trust / drawn[0].numel(), rel=1e-3)
    assert (judged.pull.flatten(1).norm(dim=1) > 0).all()  # the one without an original as well
    assert [g.shape for g in judged.critics_gradients] == [p.shape for p in jury.parameters()]
    before = torch.stack([F.softplus(part).mean() for part in apart]).mean()
    drawn = drawn - 0.01 * drawn[0].numel() * judged.pull
    after = torch.stack(
        [
            F.softplus(torch.stack([one[i] - other[row] for row, i in enumerate(pairs)])).mean()
            for one, other in zip(*scores(), strict=True)
        ]
    ).mean()
    assert after < before  # a step down the pull is a step towards "real"


def test_the_jurys_penalty_is_its_slope_at_real_maps():
    torch.manual_seed(0)
    jury = Jury()
    mine, theirs = ([torch.rand(2, c, 4, 4, generator=generator(i)) for c in teacher.CHANNELS] for i in (1, 2))
    slope = _jury_losses(jury, mine, theirs)[2]
    expected = []
    for head, seen in zip(jury.heads, theirs, strict=True):
        seen = (seen / seen.square().mean().sqrt()).requires_grad_(True)
        (gradient,) = torch.autograd.grad(head(seen).sum(), seen)
        expected.append(gradient.square().sum() / 2 / (2 * 4 * 4))
    torch.testing.assert_close(slope, torch.stack(expected).mean())
    assert all(g is not None for g in torch.autograd.grad(slope, [head[-1].weight for head in jury.heads]))


def test_sets_are_shifted_alike_and_let_gradients_through():
    x = torch.rand(5, 3, 16, 16, generator=generator()).requires_grad_(True)
    first, second = shifted([x, x[:3]], SHIFT)
    assert torch.equal(first[:3], second)
    assert not torch.allclose(first, x)
    assert torch.equal(first.flatten().sort().values, x.flatten().sort().values)  # nothing is lost
    (gradient,) = torch.autograd.grad(first.sum(), x)
    assert (gradient == 1).all()


def test_the_critic_halves_by_averaging_and_steps_by_one_pixel(critics):
    x = torch.rand(2, 3, 16, 16, generator=generator())
    critic = critics.critic
    state = critic.state_dict()
    cells = 2 * x - 1
    for place in range(2):
        weight, bias = (state[f"stages.{place}.{part}"] for part in ("weight", "bias"))
        cells = cells if place == 0 else F.interpolate(cells, scale_factor=0.5, mode="area")
        cells = F.leaky_relu(F.conv2d(cells, weight, bias, padding=1), 0.2)
    verdict = F.conv2d(cells, state["verdict.weight"], state["verdict.bias"]).squeeze(1)
    torch.testing.assert_close(verdict, critic(x)[0])


CONFIG = TrainConfig(
    data="none", steps=50, batch=16, learning_rate=3e-3, seed=5, ema=0.9, sharpen=Sharpen(0.4, critic_widths=(8, 16)),
    model=VAEConfig(size=16, channels=3, latent=4, widths=(16, 24), stem=2),
)  # fmt: skip


def stripes(count: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    phase = rng.integers(0, 4, (count, 1, 1, 1))
    rows = (np.arange(16)[None, :, None, None] + phase) // 2 % 2
    return np.broadcast_to((40 + 170 * rows).astype(np.uint8), (count, 16, 16, 3)).copy()


def weights(progress) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in progress.model.state_dict().items()}


def test_sharpening_leaves_the_encoder_alone_and_teaches_decoder_and_critic():
    pictures = stripes()
    *_, before = train(CONFIG.override(steps=30, sharpen_share=0.0), pictures, device="cpu")
    last = None
    for progress in train(dataclasses.replace(CONFIG, ema=0.0), pictures, device="cpu", report_seconds=0):
        if progress.step == 30:
            at_switch = weights(progress)
            assert progress.critic_loss == 0
        last = progress
    assert last is not None and last.is_whole and last.step == 50
    assert 0 < last.critic_loss < 2
    after = weights(last)
    for name in after:
        is_same = torch.equal(after[name], at_switch[name])
        assert is_same == name.startswith("encoder."), name
    assert before.step == 30


def test_a_stop_while_sharpening_costs_nothing(tmp_path):
    pictures = stripes()
    *_, whole = train(CONFIG, pictures, device="cpu", run_file=tmp_path / "whole")
    taken = 0

    def stop() -> bool:
        nonlocal taken
        taken += 1
        return taken > 37

    *_, part = train(CONFIG, pictures, device="cpu", run_file=tmp_path / "run", stop=stop)
    assert not part.is_whole
    assert part.step == 37
    *_, rest = train(CONFIG, pictures, device="cpu", run_file=tmp_path / "run", resume=True)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, rest.model.state_dict()[name]), name
    ends = [
        safetensors.torch.load_file(tmp_path / name) for name in ("whole", "run")
    ]  # the critic's tensors among them
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name


def test_unpaired_pictures_come_from_the_mixture_that_samples_come_from():
    config = CONFIG.override(sharpen_unpaired="mixture")
    rows = torch.from_numpy(stripes(400))
    run = Run(config, torch.device("cpu"))
    prior = step.prior_of(run, config, rows)
    with torch.no_grad():
        mean = run.model.encode(to_tensor(rows, rows.device)).mean
    assert float((prior.weights @ prior.means - mean.mean(dim=0)).norm()) < 0.3 * float(mean.std() + 1)
    first, again, other = (step.inputs_of(config, generator(seed), 16, prior)["prior_samples"] for seed in (7, 7, 8))
    assert first.shape == (8, 4) and torch.equal(first, again) and not torch.equal(first, other)
    plain = dataclasses.replace(prior, means=0 * prior.means, factors=torch.eye(4).expand_as(prior.factors))
    chance = generator(7)
    noise = torch.randn(64, 4, generator=chance)  # as Steps.take draws the posterior's
    samples = step.inputs_of(config, chance, 64, plain)["prior_samples"]
    assert float((samples - noise[:32]).abs().mean()) > 0.5  # chance of their own
    without = step.inputs_of(config, generator(7), 16, None)
    for name, tensor in without.items():  # all other chance is what it would have been
        assert torch.equal(tensor, step.inputs_of(config, generator(7), 16, prior)[name])


@pytest.mark.skipif(not features.has_network(features.TEACHER), reason="the teacher is not installed")
def test_a_stop_beside_jury_and_mixture_costs_nothing(tmp_path):
    config, pictures = (
        CONFIG.override(steps=20, sharpen_share=0.15, sharpen_unpaired="mixture", sharpen_jury=1.0),
        stripes(),
    )
    *_, whole = train(config, pictures, device="cpu")
    calls = iter(range(100))
    *_, part = train(config, pictures, device="cpu", run_file=tmp_path / "run", stop=lambda: next(calls) > 17)
    assert part.step == 18
    *_, rest = train(config, pictures, device="cpu", run_file=tmp_path / "run", resume=True)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, rest.model.state_dict()[name]), name


def test_a_critic_that_breaks_takes_the_run_a_step_back(monkeypatch):
    break_once(monkeypatch, 5, pull=lambda pull: pull * float("nan"))
    notes = [p.note for p in train(CONFIG, stripes(), device="cpu", report_seconds=0) if p.note]
    assert any("back to step" in note for note in notes)


@pytest.mark.gpu
@pytest.mark.parametrize("penalty", [None, 0.0, 0.16])
def test_a_recorded_step_does_what_the_step_does_with_other_inputs(penalty):
    device = torch.device("cuda")
    rows = torch.from_numpy(stripes()).to(device)

    def inputs(number: int) -> dict[str, torch.Tensor]:
        chance = generator(number)
        found = {
            "mirrored": torch.rand(16, generator=chance) < 0.5,
            "noise": torch.randn(16, 4, generator=chance),
            "learning_rate": torch.tensor(1e-3 * (1 + number)),
            "beta": torch.tensor(1.0),
            "decay": torch.tensor(0.5),
            "weight": torch.ones(16, 16),
        }
        found |= step.inputs_of(CONFIG, chance, 16, None)
        return {name: tensor.to(device) for name, tensor in found.items()} | {"rows": rows[number : number + 16]}

    def everything(run: Run) -> torch.Tensor:
        parts = (run.average, run.model, run.critics)
        return torch.cat([p.detach().flatten() for part in parts for p in part.parameters()])

    ends = []
    for is_recorded in (False, True):
        run = Run(CONFIG, device)
        began = everything(run)
        update = functools.partial(vae_step, run, CONFIG, torch.float32)
        if penalty is not None:
            update = functools.partial(step.sharpen_step, run, CONFIG, torch.float32, penalty)
        if is_recorded:
            update = Recorded(run, update, inputs(0))
            assert torch.equal(everything(run), began)
        for number in (3, 1, 2):
            update(inputs(number))
        ends.append(everything(run))
    apart, moved = (ends[1] - ends[0]).abs().mean(), (ends[0] - began).abs().mean()
    assert apart < 0.05 * moved


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 1.0), ("learning_rate", float("nan")), ("unpaired", "dreams"), ("jury", -1.0), ("pixel", -1.0),
        ("critic_widths", ()), ("critic_widths", (0,)), ("teacher_size", 1.5),
    ],
)  # fmt: skip
def test_recipes_that_cannot_sharpen_are_refused(name, value):
    with pytest.raises(BadInput, match=f"sharpen.{name}"):
        CONFIG.override(**{f"sharpen_{name}": value})


def break_once(monkeypatch, call: int, **broken) -> None:
    """The call-th verdict has parts that are no numbers."""
    real, calls = step.judge, []

    def breaks(*args, **kwargs):
        judged = real(*args, **kwargs)
        calls.append(1)
        nan = {name: change(getattr(judged, name)) for name, change in broken.items()}
        return dataclasses.replace(judged, **nan) if len(calls) == call else judged

    monkeypatch.setattr(step, "judge", breaks)


def nans(gradients):
    return tuple(gradient * float("nan") for gradient in gradients)


@pytest.mark.parametrize("call", [10, 20])  # right before a snapshot, and at the very last step
def test_a_critic_of_nans_is_never_remembered(monkeypatch, tmp_path, call):
    monkeypatch.setattr(runs_run, "SNAPSHOT_STEPS", 10)
    break_once(monkeypatch, call, critics_gradients=nans)
    *_, end = train(CONFIG, stripes(), device="cpu", report_seconds=0, run_file=tmp_path / "run")
    assert end.is_whole and end.step == 50
    last = safetensors.torch.load_file(tmp_path / "run")
    assert any(name.startswith("critics.") for name in last)
    assert all(tensor.isfinite().all() for tensor in last.values())


def test_going_back_over_the_start_of_sharpening_fits_the_prior_anew(monkeypatch):
    fitted, real = [], step.prior_of
    monkeypatch.setattr(step, "prior_of", lambda run, *rest: (fitted.append(run.step), real(run, *rest))[1])
    break_once(monkeypatch, 3, pull=lambda pull: pull * float("nan"))
    config = CONFIG.override(sharpen_unpaired="mixture")
    notes = [p.note for p in train(config, stripes(), device="cpu", report_seconds=0) if p.note]
    assert len(notes) == 1
    assert fitted == [30, 30]  # it went back to the start of the run, and to an encoder that learnt once more


@pytest.mark.skipif(not features.has_network(features.TEACHER), reason="the teacher is not installed")
def test_a_vae_can_learn_from_the_teacher_as_well():
    """The gradient of a step is the ELBO's and the perceptual loss's, in nats per value of a picture."""
    recipe = CONFIG.override(perceptual=0.5, clip=1e9, sharpen_share=0.0)
    chance, device = generator(1), torch.device("cpu")
    inputs = {
        "mirrored": torch.zeros(4, dtype=torch.bool), "noise": torch.randn(4, 4, generator=chance),
        "learning_rate": torch.tensor(0.0), "beta": torch.tensor(1.0), "decay": torch.tensor(0.5),
        "rows": torch.from_numpy(stripes(4)), "weight": torch.ones(16, 16),
    }  # fmt: skip
    gradients = []
    for weight in (0.0, 0.5):
        run = Run(recipe.override(perceptual=weight), device)
        vae_step(run, recipe.override(perceptual=weight), torch.float32, inputs)
        gradients.append(torch.cat([p.grad.flatten() for p in run.model.parameters()]))
    model, x = Run(recipe, device).model, to_tensor(inputs["rows"])
    loss = 0.5 * 3 * 16 * 16 * teacher.perceptual_loss(torch.sigmoid(model(x, noise=inputs["noise"])[0]), x)
    wanted = torch.autograd.grad(loss, list(model.parameters()))
    wanted = torch.cat([part.flatten() for part in wanted])
    assert float(wanted.norm()) > 0.01
    torch.testing.assert_close(gradients[1] - gradients[0], wanted, rtol=1e-2, atol=1e-2 * float(wanted.abs().max()))
