"""Paths and samples against what geometry and statistics say of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vae import latents
from vae.errors import BadInput
from vae.measure import search
from vae.priors import Mixture

seeds = st.integers(0, 10_000)
steps = st.integers(2, 40)


def ends(seed, size=6):
    return torch.randn(2, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", latents.PATHS.values())
@given(seed=seeds, count=steps)
def test_paths_begin_and_end_exactly_where_asked(path, seed, count):
    a, b = ends(seed)
    walked = path(a, b, count)
    assert walked.shape == (count, 6)
    assert torch.equal(walked[0], a)
    assert torch.equal(walked[-1], b)


@given(seed=seeds, count=steps)
def test_a_line_walks_even_steps(seed, count):
    a, b = ends(seed)
    torch.testing.assert_close(latents.line(a, b, count).diff(dim=0), ((b - a) / (count - 1)).expand(count - 1, 6))


@given(seed=seeds, count=steps)
def test_an_arc_keeps_its_norm_between_the_ends_and_turns_evenly(seed, count):
    a, b = ends(seed)
    walked = latents.arc(a, b, count)
    norms = walked.norm(dim=1)
    low, high = sorted((a.norm().item(), b.norm().item()))
    assert norms.min() >= low - 1e-4
    assert norms.max() <= high + 1e-4
    turns = torch.nn.functional.cosine_similarity(walked[1:], walked[:-1]).clamp(-1, 1).acos()
    torch.testing.assert_close(turns, turns.mean().expand(count - 1), atol=2e-3, rtol=0)


@pytest.mark.parametrize("gap", [2e-3, 1e-2])
def test_an_arc_between_nearly_opposite_ends_keeps_its_norm(gap):
    a = torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(0)), dim=0)
    aside = torch.nn.functional.normalize(a.flip(0) - (a.flip(0) @ a) * a, dim=0)
    torch.testing.assert_close(latents.arc(a, gap * aside - a, 9).norm(dim=1), torch.ones(9), atol=1e-3, rtol=0)


def test_an_arc_without_a_plane_of_its_own_is_the_line():
    a = torch.tensor([1.0, 2.0])
    for b in (3 * a, -a, torch.zeros(2)):
        assert torch.equal(latents.arc(a, b, 7), latents.line(a, b, 7))


@pytest.mark.parametrize("path", latents.PATHS.values())
@pytest.mark.parametrize("count", [1, 0, -3, 2.5])
def test_a_path_needs_two_ends(path, count):
    with pytest.raises(BadInput, match="2 or more"):
        path(torch.zeros(2), torch.ones(2), count)


def test_normal_samples_follow_seed_and_temperature():
    z = latents.sample_normal(50_000, 2, seed=1, temperature=0.5)
    torch.testing.assert_close(z.std(dim=0), torch.full((2,), 0.5), atol=0.01, rtol=0)
    assert torch.equal(z, latents.sample_normal(50_000, 2, seed=1, temperature=0.5))
    assert not latents.sample_normal(3, 2, seed=1, temperature=0).any()


@pytest.mark.parametrize("temperature", [-0.1, 2.1, float("nan"), float("inf"), "hot", None])
def test_temperature_has_limits(temperature):
    with pytest.raises(BadInput, match="temperature"):
        latents.sample_normal(1, 2, 0, temperature)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "seven"])
def test_seeds_have_limits(seed):
    with pytest.raises(BadInput, match="seed"):
        latents.sample_normal(1, 2, seed)


def test_optimising_a_linear_model_finds_the_ridge_regressions_answer():
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(3, 12, generator=generator)
    truth = torch.randn(5, 3, generator=generator)
    x = (truth @ loadings + 0.1 * torch.randn(5, 12, generator=generator)).view(5, 1, 3, 4)
    start = truth + 0.5
    sigma = 0.5
    found = search.optimize(lambda z: (z @ loadings).view(-1, 1, 3, 4), start, x, sigma=sigma, seconds=1)
    # The maximum of log p(x|z) + log p(z) in closed form, (Bishop 2006, equation 12.42).
    gram = loadings @ loadings.T + sigma**2 * torch.eye(3)
    best = torch.linalg.solve(gram, loadings @ x.flatten(1).T).T
    before, after = ((z @ loadings - x.flatten(1)).square().mean() for z in (start, found))
    assert after < 0.2 * before
    assert (found - best).norm(dim=1).max() < 0.35 * (start - best).norm(dim=1).min()


def test_optimising_never_makes_it_worse():
    x = torch.zeros(2, 1, 2, 2)  # it begins at the best there is
    assert not search.optimize(lambda z: z.view(2, 1, 2, 2), torch.zeros(2, 4), x, sigma=0.1, seconds=0.1).any()


def test_optimising_towards_other_pictures_than_the_decoder_draws_is_refused():
    for x in (torch.zeros(1, 1, 2, 2), torch.zeros(2, 1, 1, 1)):
        with pytest.raises(BadInput, match="latents draw"):
            search.optimize(lambda z: z.view(-1, 1, 1, 1), torch.zeros(1, 1), x, sigma=1)


@pytest.mark.parametrize("latent", [1, 2, 20])
def test_the_first_of_many_are_those_of_a_few(latent):
    mixture = Mixture(torch.tensor([0.3, 0.7]), torch.randn(2, latent), torch.eye(latent).expand(2, -1, -1) * 0.1)
    for draw in (
        lambda count: latents.sample_normal(count, latent, seed=3),
        lambda count: mixture.sample(count, seed=3),
    ):
        many = draw(64)
        assert many.shape == (64, latent)
        for count in (1, 4, 16, 17):
            torch.testing.assert_close(draw(count), many[:count], rtol=0, atol=1e-6)


def test_seeds_are_whole_numbers_of_any_kind_but_no_truths():
    assert torch.equal(latents.sample_normal(2, 3, np.int64(7)), latents.sample_normal(2, 3, 7))
    for seed in (True, -1, 2**63, 1.5, "7"):
        with pytest.raises(BadInput, match="seed"):
            latents.sample_normal(2, 3, seed)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 61, "2"])
def test_optimising_needs_a_time_that_makes_sense(seconds):
    with pytest.raises(BadInput, match="seconds"):
        x = torch.zeros(1, 1, 1, 1)
        search.optimize(lambda z: z.view(1, 1, 1, 1), torch.zeros(1, 1), x, sigma=1, seconds=seconds)
