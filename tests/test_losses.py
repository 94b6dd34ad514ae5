"""The loss against torch.distributions, its sigma against a search, its options against their limits."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from vae.errors import BadInput
from vae.losses import bernoulli, gaussian, negative_elbo, optimal_sigma
from vae.model import Posterior, VAEConfig


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits, x = torch.randn(6, 3, 4, 4, generator=generator), torch.rand(6, 3, 4, 4, generator=generator)
    posterior = Posterior(torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator))
    return logits, x, posterior


def test_gaussian_is_torchs_log_density_summed_over_a_picture(batch):
    mean, x, _ = batch
    sigma = torch.tensor(0.3)
    torch.testing.assert_close(gaussian(mean, x, sigma), -Normal(mean, sigma).log_prob(x).sum(dim=(1, 2, 3)))


def test_a_weighed_gaussian_is_torchs_with_a_sigma_for_each_pixel(batch):
    mean, x, posterior = batch
    sigma, weight = torch.tensor(0.3), torch.rand(4, 4, generator=torch.Generator().manual_seed(1)) + 0.5
    expected = -Normal(mean, sigma / weight.sqrt()).log_prob(x).sum(dim=(1, 2, 3))
    torch.testing.assert_close(gaussian(mean, x, sigma, weight), expected)
    best = optimal_sigma(mean, x, 0.001, weight)
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert gaussian(mean, x, best * factor, weight).sum() > gaussian(mean, x, best, weight).sum()
    logits = torch.logit(mean.sigmoid())
    terms = negative_elbo(logits, x, posterior, VAEConfig(sigma_floor=0.001), weight=weight)
    best = optimal_sigma(mean.sigmoid(), x, 0.001, weight)
    torch.testing.assert_close(terms.sigma, best)
    torch.testing.assert_close(terms.reconstruction, gaussian(mean.sigmoid(), x, best, weight).mean())


def test_a_weighed_bernoulli_counts_a_pixel_as_often_as_it_weighs(batch):
    logits, x, _ = batch
    weight = torch.tensor([[1.0, 3.0], [2.0, 1.0]]).repeat(2, 2)
    each = torch.stack(
        [
            bernoulli(logits[..., i : i + 1, j : j + 1], x[..., i : i + 1, j : j + 1]) * weight[i, j]
            for i in range(4)
            for j in range(4)
        ]
    )
    torch.testing.assert_close(bernoulli(logits, x, weight), each.sum(dim=0))


def test_bernoulli_is_torchs_log_probability_on_black_and_white(batch):
    logits, x, _ = batch
    x = (x > 0.5).float()
    torch.testing.assert_close(bernoulli(logits, x), -Bernoulli(logits=logits).log_prob(x).sum(dim=(1, 2, 3)))


def test_no_other_sigma_is_likelier(batch):
    mean, x, _ = batch
    best = optimal_sigma(mean, x, floor=0.001)
    at_best = gaussian(mean, x, best).sum()
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        assert gaussian(mean, x, best * factor).sum() > at_best


def test_sigma_stops_at_its_floor(batch):
    _, x, _ = batch
    assert optimal_sigma(x, x, floor=0.05).item() == pytest.approx(0.05)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_terms_add_up_in_nats_per_picture(batch, likelihood):
    logits, x, posterior = batch
    terms = negative_elbo(logits, x, posterior, VAEConfig(likelihood=likelihood), beta=0.5)
    torch.testing.assert_close(terms.kl, posterior.kl().sum() / 6)
    torch.testing.assert_close(terms.unit_kl.sum(), terms.kl)
    torch.testing.assert_close(terms.loss, terms.reconstruction + 0.5 * terms.kl)
    twice = negative_elbo(
        logits.repeat(2, 1, 1, 1), x.repeat(2, 1, 1, 1), Posterior(posterior.mean.repeat(2, 1), posterior.logvar.repeat(2, 1)),
        VAEConfig(likelihood=likelihood), beta=0.5,
    )  # fmt: skip
    torch.testing.assert_close(twice.loss, terms.loss)  # nothing hangs on the batch's size


def test_beta_zero_leaves_the_posterior_alone(batch):
    logits, x, posterior = batch
    mean = posterior.mean.clone().requires_grad_()
    terms = negative_elbo(logits + 0 * mean.sum(), x, Posterior(mean, posterior.logvar), VAEConfig(), beta=0)
    terms.loss.backward()
    assert torch.equal(mean.grad, torch.zeros_like(mean))


def test_free_bits_cost_nothing_up_to_their_number(batch):
    logits, x, _ = batch
    silent = Posterior(torch.zeros(6, 5), torch.zeros(6, 5))
    terms = negative_elbo(logits, x, silent, VAEConfig(likelihood="bernoulli"), free_bits=0.25)
    torch.testing.assert_close(terms.loss - terms.reconstruction, torch.tensor(5 * 0.25))
    assert terms.kl == 0  # what is reported stays the true KL


@pytest.mark.parametrize("name", ["beta", "free_bits"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_weights_are_refused_by_name(batch, name, value):
    logits, x, posterior = batch
    with pytest.raises(BadInput, match=name):
        negative_elbo(logits, x, posterior, VAEConfig(likelihood="bernoulli"), **{name: value})
