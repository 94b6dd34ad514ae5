"""Held-out figures of a model so simple that each has a closed form or is integrated by hand."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal

from vae.errors import BadInput
from vae.measure.evaluation import DISTANCES_NOTE, distance_table, estimate_sigma, evaluate, table
from vae.model import VAE, Posterior, VAEConfig

CONFIG = VAEConfig(size=8, channels=1, latent=1, widths=(8,), stem=2, sigma_floor=0.001)
STD = 0.5


class Brightness(nn.Module):
    """z: the logit of the mean brightness, known up to STD."""

    def forward(self, x: Tensor) -> Posterior:
        mean = torch.logit(x.mean(dim=(1, 2, 3)), 1e-3)[:, None]
        return Posterior(mean, torch.full_like(mean, 2 * math.log(STD)))


class Plain(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z[:, :1, None, None].expand(-1, 1, 8, 8)


@pytest.fixture
def model() -> VAE:
    return VAE(CONFIG, Brightness(), Plain()).eval()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    brightness = rng.integers(60, 190, (3000, 1, 1, 1))
    return np.clip(brightness + rng.normal(0, 20, (3000, 8, 8, 1)), 0, 255).astype(np.uint8)


def test_sigma_is_that_of_posterior_samples_not_of_their_mode(model, pictures):
    x = pictures.reshape(3000, 64) / 255
    mean = np.log(x.mean(1) / (1 - x.mean(1)))[:, None]
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)  # integrates over N(0, 1)
    drawn = 1 / (1 + np.exp(-(mean + STD * nodes)))  # (3000, 20)
    squared = (np.square(x[:, :, None] - drawn[:, None]).mean(axis=1) @ weights / weights.sum()).mean()
    assert estimate_sigma(model, pictures) == pytest.approx(math.sqrt(squared), rel=0.03)
    of_mode = math.sqrt(np.square(x - x.mean(1, keepdims=True)).mean())
    assert math.sqrt(squared) > 1.3 * of_mode  # far enough from what a mode would give


def test_psnr_is_of_the_mode_and_active_units_say_enough(model, pictures):
    numbers = evaluate(model, pictures)
    x = pictures / 255
    rmse = math.sqrt(np.square(x - x.mean(axis=(1, 2, 3), keepdims=True)).mean())
    assert numbers["rmse"] == pytest.approx(rmse, rel=1e-3)
    assert numbers["psnr"] == pytest.approx(-20 * math.log10(rmse), abs=0.01)
    mean = np.log(x.mean(axis=(1, 2, 3)) / (1 - x.mean(axis=(1, 2, 3))))
    assert numbers["kl"] == pytest.approx((0.5 * (mean**2 + STD**2 - 1) - math.log(STD)).mean(), rel=1e-4)
    assert numbers["elbo"] == pytest.approx(-numbers["reconstruction"] - numbers["kl"], rel=1e-6)
    assert (numbers["active_units"], numbers["units"], numbers["pictures"]) == (1, 1, 3000)


def test_reconstruction_is_the_likelihood_of_what_a_posterior_sample_draws(pictures):
    """Integrated over the one latent; of grey pictures whose pixels are taken for probabilities, and of a gaussian."""
    x = torch.from_numpy(pictures[:600, :, :, 0] / 255)  # more than go through at once
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(30))
    z = torch.logit(x.mean(dim=(1, 2)))[:, None, None, None] + STD * nodes  # (N, 1, 1, 30)
    densities = {
        "bernoulli": Bernoulli(logits=z, validate_args=False).log_prob(x[..., None]),
        "gaussian": Normal(torch.sigmoid(z), 0.2).log_prob(x[..., None]),
    }
    for likelihood, density in densities.items():
        model = VAE(dataclasses.replace(CONFIG, likelihood=likelihood), Brightness(), Plain()).eval()
        model.sigma.fill_(0.2)
        found = evaluate(model, pictures[:600], seed=1)
        nats = -(density.sum(dim=(1, 2)) @ weights / weights.sum()).mean()
        assert found["reconstruction"] == pytest.approx(float(nats), rel=0.01)
        assert ("sigma" in found) == (likelihood == "gaussian")
        assert found == evaluate(model, pictures[:600], seed=1) != evaluate(model, pictures[:600], seed=2)


def test_a_unit_that_says_next_to_nothing_is_not_active(pictures):
    class Two(nn.Module):
        """Beside the brightness a unit of 0.005 nats a picture."""

        def forward(self, x: Tensor) -> Posterior:
            mean, logvar = Brightness()(x).mean, Brightness()(x).logvar
            return Posterior(torch.cat([mean, 0 * mean + 0.1], dim=1), torch.cat([logvar, 0 * logvar], dim=1))

    model = VAE(dataclasses.replace(CONFIG, latent=2), Two(), Plain()).eval()
    found, alone = evaluate(model, pictures[:300]), evaluate(VAE(CONFIG, Brightness(), Plain()).eval(), pictures[:300])
    assert (found["units"], found["active_units"]) == (2, 1)
    assert found["kl"] == pytest.approx(alone["kl"] + 0.005, rel=1e-4)
    assert evaluate(model, pictures[:1])["pictures"] == 1


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (3, 8, 8, 3), (3, 9, 8, 1), (8, 8, 1)])
def test_pictures_of_another_form_are_not_measured(model, shape):
    with pytest.raises(BadInput, match=r"wants uint8 \(N, 8, 8, 1\)|no pictures"):
        evaluate(model, np.zeros(shape, np.uint8))


def test_sigma_follows_its_seed_and_stops_at_the_floor(pictures):
    model = VAE(CONFIG, Brightness(), Plain()).eval()
    assert estimate_sigma(model, pictures[:300], 1) == estimate_sigma(model, pictures[:300], 1)
    assert estimate_sigma(model, pictures[:300], 1) != estimate_sigma(model, pictures[:300], 2)
    assert estimate_sigma(model, pictures[:300]) == estimate_sigma(model, pictures[:300], 0)
    black, halves = np.zeros((1, 8, 8, 1), np.uint8), np.full((1, 8, 8, 1), 255, np.uint8)
    halves[:, :4] = 0  # the worst that can befall a model that draws even greys
    found = estimate_sigma(model, np.concatenate([halves, black, black]))
    assert found == pytest.approx(math.sqrt(0.25 / 3), abs=0.03)
    assert estimate_sigma(model, np.concatenate([black, black])) < 0.01
    high = VAE(dataclasses.replace(CONFIG, sigma_floor=0.7), Brightness(), Plain()).eval()
    assert estimate_sigma(high, pictures[:300]) == 0.7


def test_tables_are_markdown_with_a_cell_for_each_figure(model, pictures):
    numbers = {**evaluate(model, pictures[:100]), "pictures": 12345, "elbo": -1234.567}
    text = table(numbers)
    assert all(line[0] == line[-1] == "|" for line in text.splitlines()) and r"p(x\|z)" in text
    head, rule, *rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines())
    assert len(rows) == len(numbers)
    assert {len(cells) for cells in (head, rule, *rows)} == {4}
    cells = {key.strip(): (value.strip(), unit.strip()) for key, value, unit, _ in rows}
    assert cells["pictures"] == ("12,345", "") and cells["elbo"] == ("-1,235", "nats per picture")
    for key in ("kl", "rmse", "psnr", "sigma"):
        assert float(cells[key][0]) == pytest.approx(numbers[key], rel=1e-3)
        assert len(cells[key][0].lstrip("-0.").replace(".", "")) <= 4
    compared = distance_table({"one": {"trained_on": 0.25, "ssim": 0.123456}, "two": {"nearest": 2.0}}).splitlines()
    head, rule, one, two = ([cell.strip() for cell in line.split("|")[1:-1]] for line in compared)
    assert {name: cell for name, cell in zip(head, one, strict=True) if cell} == {
        "pictures": "one", "trained_on": "0.25", "ssim": "0.1235",
    }  # fmt: skip
    assert {name: cell for name, cell in zip(head, two, strict=True) if cell} == {"pictures": "two", "nearest": "2"}
    assert set(rule) == {"---"} and len(rule) == len(head)
    assert all(line[0] == line[-1] == "|" for line in compared)
    assert all(name in DISTANCES_NOTE for name in head[1:])  # each is explained
