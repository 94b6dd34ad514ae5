"""The best of many draws against brute force; what is drawn near a latent against the Gaussian that it should leave as it is."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist

from vae import checkpoints
from vae.atlas import Atlas, Named
from vae.errors import BadInput
from vae.measure.best import best_of, farthest
from vae.priors import Mixture

NO_SHARES = [-0.1, 1.1, float("nan"), None, "much", 10**400]


def points(count: int = 60, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def digits() -> Atlas:
    return checkpoints.load("digits").atlas


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_each_chosen_point_is_the_best_beside_those_before(share):
    """By every distance to every row chosen before, one candidate after the other."""
    z, merit = points(), points(seed=1)[:, 0]
    rows = farthest(z, 12, merit, share)
    distances = cdist(z, z)
    assert rows[0] == int(merit.argmax()) and len(set(rows)) == 12
    for step in range(1, 12):
        before = rows[:step]
        scores = {
            row: share * np.log(distances[row, before].min() ** 2) + (1 - share) * float(merit[row])
            for row in range(len(z))
            if row not in before
        }
        assert scores[rows[step]] == pytest.approx(max(scores.values()), abs=1e-5)


def test_farthest_points_cover_within_twice_of_the_best_choice():
    """Gonzalez 1985: no choice leaves every point less than half as far from its nearest one as this does; tried by all pairs."""
    z = points(25)
    distances = cdist(z, z)
    reached = distances[:, farthest(z, 2)].min(axis=1).max()
    least = min(distances[:, [a, b]].min(axis=1).max() for a in range(25) for b in range(a))
    assert reached <= 2 * least


def test_equal_points_and_more_than_there_are_different_ones_are_still_chosen_once():
    assert sorted(farthest(torch.zeros(6, 3), 6)) == list(range(6))


def test_without_difference_the_most_real_are_kept_and_with_it_they_lie_apart(digits):
    z = digits.prior("mixture", 200, 3)
    realism = digits.realism(z)
    kept, left = best_of(digits, z, 20, 0)
    assert sorted(kept + left) == list(range(200))
    assert realism[kept].min() >= realism[left].max()
    assert (realism[left].diff() >= 0).all()  # the least real first
    apart, _ = best_of(digits, z, 20, 1)
    least = [pdist(digits.coordinates(z[rows])).min() for rows in (apart, kept)]
    assert least[0] > 2 * least[1]
    middle, _ = best_of(digits, z, 20, 0.5)
    assert realism[apart].mean() < realism[middle].mean()


def test_all_are_kept_in_their_order_where_there_are_no_more(digits):
    z = digits.prior("mixture", 5, 3)
    for keep in (5, 64):
        assert best_of(digits, z, keep) == (list(range(5)), [])


@pytest.mark.parametrize("difference", NO_SHARES)
def test_a_difference_out_of_range_is_refused_in_a_short_sentence(digits, difference):
    with pytest.raises(BadInput, match="different") as refused:
        best_of(digits, digits.prior("mixture", 9, 3), 3, difference)
    assert len(str(refused.value)) < 200


def test_draws_that_are_odd_are_no_more_real_than_any_that_are_typical(digits):
    """Latents from far outside are left out of the best."""
    z = torch.cat([digits.prior("mixture", 60, 3, 0.7), 6 * digits.prior("normal", 40, 3)])
    kept, left = best_of(digits, z, 30, 0)
    assert max(kept) < 60 and left[0] >= 60


def lone() -> Mixture:
    factor = torch.tensor([[2.0, 0.0], [0.7, 0.4]])
    return Mixture(
        torch.tensor([0.5, 0.5]), torch.tensor([[1.0, -2.0], [60.0, 60.0]]), torch.stack([factor, torch.eye(2)])
    )


def test_near_is_the_latent_itself_without_spread_and_its_component_with_all_of_it():
    mixture, z = lone(), torch.tensor([3.0, -1.0])
    assert torch.allclose(mixture.around(z, 4, 1, 0.0), z.expand(4, 2), atol=1e-5)
    far = mixture.around(z, 20_000, 1, 1.0)
    torch.testing.assert_close(far.mean(dim=0), mixture.means[0], atol=0.06, rtol=0)
    torch.testing.assert_close(torch.cov(far.T), mixture.factors[0] @ mixture.factors[0].T, atol=0.15, rtol=0)
    assert torch.equal(far[:7], mixture.around(z, 7, 1, 1.0))


@pytest.mark.parametrize("spread", [0.2, 0.6])
def test_what_is_drawn_near_typical_latents_is_as_typical(spread):
    """One step from each draw of a component: their cloud has the component's mean and covariance still."""
    mixture = lone()
    z = mixture.means[0] + torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) @ mixture.factors[0].T
    moved = torch.stack([mixture.around(one, 1, seed, spread)[0] for seed, one in enumerate(z)])
    torch.testing.assert_close(moved.mean(dim=0), mixture.means[0], atol=0.12, rtol=0)
    torch.testing.assert_close(torch.cov(moved.T), mixture.factors[0] @ mixture.factors[0].T, atol=0.3, rtol=0)
    assert 0.5 * spread < (moved - z).norm(dim=1).mean() < (lone().around(z[0], 4000, 1, 1.0) - z).norm(dim=1).mean()


@pytest.mark.parametrize("spread", NO_SHARES)
def test_a_spread_out_of_range_is_refused(spread):
    with pytest.raises(BadInput, match="spread"):
        lone().around(torch.zeros(2), 1, 0, spread)


def test_of_values_of_one_column_one_will_do_and_other_traits_must_hold_as_well(digits):
    digits = dataclasses.replace(
        digits, named=(*digits.named, Named("bold", digits.directions[0], "balanced accuracy", 0.9, 0.5))
    )
    names = [row.name for row in digits.named]

    def has(z: torch.Tensor, name: str) -> torch.Tensor:
        return (z - digits.mean) @ digits.probes[names.index(name)] > digits.traits[name]

    kinds = ["label=3", "label=7"]
    z = digits.prior("mixture", 40, 1, only=kinds)
    assert (has(z, kinds[0]) ^ has(z, kinds[1])).all() and has(z, kinds[0]).any() and has(z, kinds[1]).any()
    both = digits.prior("mixture", 20, 1, only=[*kinds, "bold"])
    assert (has(both, "bold") & (has(both, kinds[0]) | has(both, kinds[1]))).all()


def test_where_a_trait_is_rare_fewer_draws_will_do_if_that_is_said(digits):
    common = digits.prior("mixture", 10_000, 1, only=["label=3"], least=1)
    assert 1 < len(common) < 10_000
    with pytest.raises(BadInput, match="Only .* throws"):
        digits.prior("mixture", 10_000, 1, only=["label=3"])
