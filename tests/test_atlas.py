"""The atlas against torch.distributions, scikit-learn and latent spaces whose truth is known."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.stats import pearsonr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.mixture import GaussianMixture
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vae.atlas import PRIORS, Atlas, Named
from vae.data import MOST_VALUES
from vae.errors import BadInput
from vae.measure import fit
from vae.measure.directions import MIN_EXAMPLES, fit_named, merged, why_not
from vae.measure.fit import fit_atlas, fit_mixture, telling
from vae.model import VAE, VAEConfig, to_pictures, to_tensor
from vae.pictures.split import held_out
from vae.priors import Mixture
from vae.storage import atlases


def known_mixture() -> Mixture:
    weights = torch.tensor([0.2, 0.5, 0.3])
    means = torch.tensor([[-4.0, 0.0], [3.0, 3.0], [3.0, -4.0]])
    factors = torch.tensor([[[0.5, 0.0], [0.3, 0.6]], [[1.0, 0.0], [-0.4, 0.5]], [[0.3, 0.0], [0.0, 0.3]]])
    return Mixture(weights, means, factors)


def test_log_density_is_torchs():
    mixture = known_mixture()
    twin = MixtureSameFamily(
        Categorical(mixture.weights), MultivariateNormal(mixture.means, scale_tril=mixture.factors)
    )
    z = 4 * torch.randn(2500, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mixture.log_prob(z), twin.log_prob(z), rtol=1e-4, atol=1e-4)


def test_samples_have_the_mixtures_moments_and_follow_the_seed():
    mixture = known_mixture()
    z = mixture.sample(40_000, seed=2)
    torch.testing.assert_close(z.mean(dim=0), mixture.weights @ mixture.means, atol=0.06, rtol=0)
    assert torch.equal(z, mixture.sample(40_000, seed=2))
    cold = mixture.sample(500, seed=2, temperature=0)
    assert (cold[:, None] == mixture.means).all(dim=2).any(dim=1).all()  # nothing but the components' centres
    torch.testing.assert_close(cold + 0.5 * (z[:500] - cold), mixture.sample(500, seed=2, temperature=0.5))


def test_a_fit_finds_as_many_components_as_there_are_and_is_as_likely_as_scikit_learns():
    z = known_mixture().sample(6000, seed=1)
    fitted = fit_mixture(z, seed=0)
    assert len(fitted.weights) in (4, 8)  # the smallest candidates that can hold three
    fresh = known_mixture().sample(4000, seed=9)
    truth = known_mixture().log_prob(fresh).mean().item()
    peer = GaussianMixture(3, random_state=0).fit(z.numpy()).score(fresh.numpy())
    assert fitted.log_prob(fresh).mean().item() == pytest.approx(truth, abs=0.05)
    assert fitted.log_prob(fresh).mean().item() == pytest.approx(peer, abs=0.05)


def test_one_cloud_gets_one_component():
    factor = torch.tensor([[2.0, 0, 0], [1.0, 0.5, 0], [0.0, 0.3, 0.1]])
    z = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) @ factor.T + torch.tensor([5.0, 0, -5.0])
    fitted = fit_mixture(z)
    assert len(fitted.weights) == 1
    torch.testing.assert_close(fitted.factors[0], factor, atol=0.06, rtol=0)


def test_a_fit_hangs_on_its_seed_and_on_no_other_chance():
    z = torch.randn(
        400, 3, generator=torch.Generator().manual_seed(0)
    ).square()  # no clusters: any start ends elsewhere
    np.random.seed(1)
    first = fit_mixture(z, seed=3)
    np.random.seed(2)
    again, other = fit_mixture(z, seed=3), fit_mixture(z, seed=4)
    assert torch.equal(first.means, again.means) and torch.equal(first.factors, again.factors)
    assert first.means.shape != other.means.shape or not torch.allclose(first.means, other.means)
    assert torch.equal(fit_mixture(z).means, fit_mixture(z, seed=0).means)


@pytest.mark.parametrize(
    ("scores", "tried", "chosen"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 4, 8], 8),  # sixteen would have too few rows each
        ([1, 2, 1, 2], [1, 2, 4, 8], 2),
        ([5, 4, 3, 9], [1, 2, 4], 1),  # it fell twice
        ([5, 4, 6, 5], [1, 2, 4, 8], 4),  # once, and then it rose
        ([5, 5.001, 5.002, 9], [1, 2, 4], 1),  # as good as nothing is no gain
    ],
)
def test_as_many_components_as_the_heldout_fifth_wants(monkeypatch, scores, tried, chosen):
    fits, judged = [], []

    class Scored(GaussianMixture):
        """The real one, whose scores are given."""

        def fit(self, rows):
            fits.append((self.n_components, rows))
            return super().fit(rows)

        def score(self, rows):
            judged.append(rows)
            return scores[len(judged) - 1]

    monkeypatch.setattr("sklearn.mixture.GaussianMixture", Scored)
    z = 5 + torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[3.0, 0.0], [2.0, 0.1]])
    fitted = fit_mixture(z)
    *attempts, (last, everything) = fits
    assert [count for count, _ in attempts] == tried
    assert last == len(fitted.weights) == chosen
    assert len(everything) == 40
    np.testing.assert_allclose(everything.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(everything.T), np.eye(2), atol=1e-4)  # whitened
    for (_, learnt), unseen in zip(attempts, judged, strict=True):
        assert (len(learnt), len(unseen)) == (32, 8)
        assert np.array_equal(np.concatenate([unseen, learnt]), everything)


def test_too_few_latents_and_units_that_sleep_still_have_a_mixture():
    few = fit_mixture(torch.tensor([[0.0, 0], [1, 0], [0, 1]]))
    assert few.weights.tolist() == [1.0]
    z = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 0.0])
    asleep = fit_mixture(z).sample(100, seed=0)
    assert asleep[:, 2].abs().max() < 0.01 < asleep[:, 1].std()


def test_of_very_many_latents_some_are_enough(monkeypatch):
    monkeypatch.setattr(fit, "FIT_LATENTS", 100)
    z = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    z[torch.randperm(300, generator=torch.Generator().manual_seed(1))[:150]] += 50  # not the first hundred alone
    assert sorted(fit_mixture(z.sort(dim=0).values).weights.tolist()) == pytest.approx([0.5, 0.5], abs=0.15)


def test_scores_are_scikit_learns_on_the_tenth_that_was_left_out():
    dice = np.random.default_rng(0)
    z = dice.normal(size=(600, 4)) * [0.9, 0.3, 0.3, 0.1] + [5, -3, 0, 1]
    rare = (z[:, 0] + 0.5 * dice.normal(size=600) > 5.7).astype(float)
    warm = 1000 + 0.5 * z[:, 1] + 0.1 * dice.normal(size=600)
    first, second = fit_named(torch.from_numpy(z), {"rare": rare, "warm": warm})
    held = held_out([str(row) for row in range(600)])
    z = z - z.mean(axis=0)
    truth, reading = [], []
    for column in (rare, warm):
        line = LinearRegression(fit_intercept=False).fit(z[~held], column[~held] - column.mean())
        truth, reading = [*truth, column[held]], [*reading, line.predict(z)]
    between = np.mean([reading[0][~held & (rare == side)].mean() for side in (0, 1)])
    accuracy = balanced_accuracy_score(truth[0], reading[0][held] > between)
    assert 0.6 < accuracy < 0.95
    assert first.score == pytest.approx(accuracy, abs=0.005)
    assert (first.measure, first.share) == ("balanced accuracy", pytest.approx(rare.mean()))
    correlation = pearsonr(truth[1], reading[1][held]).statistic
    assert 0.6 < correlation < 0.95
    assert second.score == pytest.approx(correlation, abs=0.005)
    assert (second.measure, second.share) == ("correlation", 0.5)


def test_the_rows_that_score_a_direction_have_no_part_in_it():
    dice = np.random.default_rng(0)
    z, side = dice.normal(size=(400, 3)), np.arange(400) % 2
    kind = dice.choice(["a", "b", "c"], 400)
    z[:, 0] += side
    held = np.flatnonzero(held_out([str(row) for row in range(400)]))
    dealt = z.copy()
    dealt[held] = z[dice.permutation(held)]  # to other pictures of the tenth, so that the mean of all is what it was
    columns = {"side": side, "kind": kind}
    once, again = (fit_named(torch.from_numpy(latents), columns) for latents in (z, dealt))
    for one, other in zip(once, again, strict=True):
        torch.testing.assert_close(one.vector, other.vector)
    assert once[0].score > again[0].score


def test_a_score_needs_rows_that_differ():
    """What cannot be told from the rows that are left out is worth no more than a guess."""
    dice = np.random.default_rng(0)
    z, held = dice.normal(size=(600, 2)), held_out([str(row) for row in range(600)])
    z[held, 1] = z[held, 1] + 0.5
    number, side = z[:, 0] * 0.1, (z[:, 0] > 0).astype(float)

    def score(column: np.ndarray, latents: np.ndarray = z) -> float:
        return fit_named(torch.from_numpy(latents), {"it": column})[0].score

    assert score(np.where(held, np.nan, number)) == 0.0
    assert score(np.where(held, 0.25, number)) == 0.0
    assert score(number, np.where(held[:, None], 0.25, z)) == pytest.approx(0.0, abs=1e-9)
    assert score(np.where(held, np.nan, side)) == 0.5
    only = np.where(held & (side == 0), np.nan, side)  # of those without, none is left
    assert 0.9 < score(only) <= 1


def test_columns_of_noughts_and_ones_become_one_of_words():
    columns = {"black_hair": np.array([1.0, 0, 0, 1]), "fair_hair": np.array([0.0, 1, 0, 1]), "smile": np.ones(4)}
    found = merged(columns, {"hair": ["black_hair", "fair_hair"]})
    assert found["hair"].tolist() == ["black", "fair", "", ""]
    assert sorted(found) == ["hair", "smile"]
    assert sorted(columns) == ["black_hair", "fair_hair", "smile"]
    with pytest.raises(BadInput, match="red_hair"):
        merged(columns, {"hair": ["black_hair", "red_hair"]})


def test_named_directions_are_told_apart_although_they_go_together():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, 8000)
    second = np.where(rng.random(8000) < 0.8, first, 1 - first)  # tangled, as make-up and youth are
    third = rng.normal(size=8000) * 5
    truth = np.array([[2.0, 0, 0, 0.5], [0, 1.5, 0, 0], [0, 0, 0.3, 0]])
    z = (
        first[:, None] * truth[0]
        + second[:, None] * truth[1]
        + third[:, None] * truth[2]
        + 0.2 * rng.normal(size=(8000, 4))
    )
    named = fit_named(
        torch.from_numpy(z).float(),
        {
            "a": first,
            "b": second,
            "c": third,
            "words": np.array(["x"] * 8000),
            "rare": (rng.random(8000) < 0.001).astype(int),
        },
    )
    assert [row.name for row in named] == ["a", "b", "c"]
    for row, vector in zip(named, truth * [[1], [1], [5]], strict=True):
        torch.testing.assert_close(row.vector, torch.from_numpy(vector).float(), atol=0.06, rtol=0)
        assert row.score > 0.95


def test_values_of_words_get_their_mean_latents_all_else_being_equal():
    rng = np.random.default_rng(1)
    places = {"short": [2.0, 0, 0], "long": [0, 2.0, 0], "bun": [-2.0, -2.0, 0]}
    hair = rng.choice(list(places), 6000, p=[0.5, 0.3, 0.2])
    smile = (rng.random(6000) < np.where(hair == "long", 0.9, 0.2)).astype(float)  # tangled with long hair
    is_long = (hair == "long").astype(float)  # tells nothing that the words do not tell
    z = np.array([places[word] for word in hair]) + smile[:, None] * [0, 0, 3.0] + 0.1 * rng.normal(size=(6000, 3))
    named = fit_named(torch.from_numpy(z).float(), {"smile": smile, "is_long": is_long, "hair": hair})
    found = {row.name: row for row in named}
    assert list(found) == ["smile", "is_long", "hair=bun", "hair=long", "hair=short"]
    assert all(row.score > 0.95 for name, row in found.items() if name != "is_long")
    others = (0.5 * np.array(places["short"]) + 0.2 * np.array(places["bun"])) / 0.7
    torch.testing.assert_close(
        found["hair=long"].vector, torch.tensor(places["long"] - others).float(), atol=0.06, rtol=0
    )


def test_columns_of_names_gaps_and_single_values_get_no_direction():
    z = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    columns = {
        "who": np.array([f"name {i}" for i in range(400)]),
        "same": np.array(["x"] * 400),
        "rare": np.array(["a"] * 390 + ["b"] * 10),
        "gaps": np.array([0.0, 1.0] * 40 + [np.nan] * 320),
        "empty": np.array([""] * 200 + ["here"] * 200),
        "constant": np.ones(400),
    }
    assert fit_named(z, columns) == ()
    assert all(why_not(column) for column in columns.values())
    assert why_not(columns["gaps"]) == "gaps in 320 of 400 pictures"
    assert fit_named(z[:8], {"tiny": np.array([0, 1] * 4)}) == ()


FEW, MANY = MIN_EXAMPLES - 1, MIN_EXAMPLES


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (np.repeat(["a", "b"], MANY), ""),
        (np.repeat(["a", "b"], [FEW, MANY]), f"not 2 to {MOST_VALUES} values with {MIN_EXAMPLES} pictures each"),
        (np.repeat([f"{i}" for i in range(MOST_VALUES)], MANY), ""),
        (np.repeat([f"{i}" for i in range(MOST_VALUES + 1)], MANY), "not 2 to"),
        (np.repeat([0, 1], MANY), ""),
        (np.repeat([0, 1], [FEW, MANY]), f"only {FEW} pictures on one side"),
        (np.repeat([True, False], [FEW, 4 * MANY]), f"only {FEW} pictures on one side"),
        (np.repeat([-1.0, 1.0], MANY), ""),
        (np.arange(2 * MANY), ""),
        (np.arange(2 * MANY - 1), f"only {2 * MANY - 1} pictures"),
        (np.append(np.arange(2 * MANY), [np.nan] * 300), ""),
        (np.append(np.arange(2 * MANY - 1), [np.nan] * 301), f"gaps in 301 of {2 * MANY + 300} pictures"),
        (np.full(400, 7), "the same for all"),
    ],
)
def test_a_column_gets_directions_from_so_many_pictures_on(column, reason):
    """One picture fewer than enough gives none, and is said."""
    assert why_not(column).startswith(reason) and bool(why_not(column)) == bool(reason)
    z = torch.randn(len(column), 2, generator=torch.Generator().manual_seed(0))
    assert bool(fit_named(z, {"it": column})) == (not reason)


def test_gaps_cost_a_column_only_the_rows_that_have_them():
    """Latents that are a sum of what each column adds: as many directions come back, whatever is missing or absurd."""
    rng = np.random.default_rng(2)
    smile, turn = rng.integers(0, 2, 6000).astype(float), rng.normal(size=6000)
    z = smile[:, None] * [2.0, 0, 0] + turn[:, None] * [0, 1.5, 0] + 0.05 * rng.normal(size=(6000, 3))
    smile[rng.random(6000) < 0.4] = np.nan
    turn[rng.random(6000) < 0.3] = np.nan
    turn[:3] = [1e300, np.inf, -np.inf]
    named = fit_named(torch.from_numpy(z).float(), {"smile": smile, "turn": turn})
    assert [row.name for row in named] == ["smile", "turn"]
    torch.testing.assert_close(named[0].vector, torch.tensor([2.0, 0, 0]), atol=0.06, rtol=0)
    torch.testing.assert_close(named[1].vector, torch.tensor([0, 1.5, 0]), atol=0.06, rtol=0)
    assert all(row.score > 0.99 for row in named)
    assert named[0].share == pytest.approx(np.nanmean(smile))


def test_a_direction_is_scored_on_all_kinds_and_not_on_what_it_was_fitted_to():
    """Latents as wide as there are pictures can tell anything that they were fitted to; of others they know nothing."""
    rng = np.random.default_rng(3)
    z, column = rng.normal(size=(400, 300)), rng.integers(0, 2, 400).astype(float)
    (row,) = fit_named(torch.from_numpy(z).float(), {"luck": column})
    assert 0.25 < row.score < 0.75
    kinds = np.repeat(["ant", "bee", "cat", "dog"], 100)  # one class folder after another
    z = (kinds[:, None] == np.unique(kinds)) + 0.1 * rng.normal(size=(400, 4))
    named = fit_named(torch.from_numpy(z).float(), {"kind": kinds, "row": np.arange(400.0)})
    assert len(named) == 5
    assert all(row.score > 0.95 for row in named if row.measure == "balanced accuracy")


def bare_atlas(units: int) -> Atlas:
    mixture = Mixture(torch.ones(1), torch.zeros(1, units), torch.eye(units)[None])
    return Atlas(
        kl=torch.ones(units), mean=torch.zeros(units), covariance=torch.eye(units), directions=torch.eye(units),
        spreads=torch.ones(units), named=(), mixture=mixture, examples=np.zeros((1, 8, 8, 3), np.uint8), familiar_error=1.0,
        likelihoods=torch.zeros(101),
    )  # fmt: skip


@pytest.fixture
def tangled() -> Atlas:
    vectors = {"youth": [1.0, 0.0, 0.0], "lipstick": [0.8, 0.6, 0.0], "glasses": [0.0, 0.0, 2.0]}
    named = tuple(Named(name, torch.tensor(v), "balanced accuracy", 0.9, 0.5) for name, v in vectors.items())
    covariance = torch.tensor([[1.0, 0.3, 0], [0.3, 2.0, 0], [0, 0, 4.0]])
    return dataclasses.replace(bare_atlas(3), covariance=covariance, named=named)


def test_only_what_has_the_traits_is_drawn(tangled):
    """Of a Gaussian around the mean a half reads more than 0 of one trait; what has two of them reads more of both."""
    first, second = list(tangled.traits)[:2]
    readings = (tangled.prior("normal", 500, 1, only=[first, second]) - tangled.mean) @ tangled.probes[:2].T
    assert (readings > torch.tensor([tangled.traits[first], tangled.traits[second]])).all()
    assert torch.equal(tangled.prior("normal", 3, 1, only=[first]), tangled.prior("normal", 9, 1, only=[first])[:3])
    with pytest.raises(BadInput, match="Only .* throws"):
        tangled.prior("normal", 10, 1, temperature=0, only=[first])
    with pytest.raises(BadInput, match="no trait"):
        tangled.prior("normal", 10, 1, only=["wings"])


def test_a_trait_is_read_from_what_has_it():
    """Two groups of points: of those with the attribute, and of those without, nearly all are told by the reading."""
    dice = np.random.default_rng(0)
    has = dice.random(3000) < 0.3
    z = torch.tensor(dice.normal(0, 0.2, (3000, 3)), dtype=torch.float32)
    z[torch.tensor(has), 0] += 2
    (row,) = fit_named(z, {"hat": has.astype(float)})
    atlas = dataclasses.replace(bare_atlas(3), named=(row,), mean=z.mean(dim=0), covariance=torch.cov(z.T))
    reads = (z - atlas.mean) @ atlas.probes[0] > atlas.traits["hat"]
    assert (reads.numpy() == has).mean() > 0.99


def test_entanglement_counts_steps_of_the_others(tangled):
    assert tangled.entanglement.diagonal().tolist() == pytest.approx([1, 1, 1])
    by_hand = float(tangled.named[0].vector @ torch.linalg.inv(tangled.covariance) @ tangled.named[1].vector)
    norm = float(tangled.named[1].vector @ torch.linalg.inv(tangled.covariance) @ tangled.named[1].vector)
    assert float(tangled.entanglement[0, 1]) == pytest.approx(by_hand / norm, abs=1e-4)
    assert float(tangled.entanglement[0, 2]) == pytest.approx(0, abs=1e-6)


def test_a_locked_direction_stays_still_and_the_change_is_the_smallest(tangled):
    youth = tangled.named[0].vector
    still = tangled.still(youth, ["lipstick", "glasses"])
    assert (tangled.probes[1:] @ still).abs().max() < 1e-5
    assert (tangled.probes[0] @ still) > 0.05
    inverse = torch.linalg.inv(tangled.covariance)

    def cost(vector: torch.Tensor) -> float:
        return float((vector - youth) @ inverse @ (vector - youth))

    free = torch.linalg.svd(tangled.probes[1:]).Vh[2]  # the one way in which nothing locked moves
    for nudge in (-0.05, 0.05):
        assert cost(still) < cost(still + nudge * free)
    assert torch.equal(tangled.still(youth, []), youth)


def test_nothing_left_or_nothing_known_is_said(tangled):
    with pytest.raises(BadInput, match="unlock"):
        tangled.still(tangled.named[2].vector, ["glasses"])
    with pytest.raises(BadInput, match="'beard'"):
        tangled.still(tangled.named[2].vector, ["beard"])


@pytest.fixture(scope="module")
def charted() -> tuple[VAE, np.ndarray, Atlas]:
    torch.manual_seed(0)
    model = VAE(VAEConfig(size=8, channels=3, latent=4, widths=(8,), stem=2)).eval()
    with torch.no_grad():
        model.encoder.head.weight[:4] *= 20  # so that pictures lie apart
        model.encoder.head.weight[3].zero_()  # and one unit sleeps
        model.encoder.head.bias[3].zero_()
        model.encoder.head.weight[7].zero_()
        model.encoder.head.bias[7].zero_()
    pictures = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)
    brightness = pictures.mean(axis=(1, 2, 3))
    attributes = {"bright": (brightness > np.median(brightness)).astype(float)}
    return model, pictures, fit_atlas(model, pictures, attributes, heldout=pictures[:100])


def test_kl_and_active_units_are_those_of_the_posterior(charted):
    model, pictures, atlas = charted
    with torch.inference_mode():
        expected = model.encode(to_tensor(pictures)).kl().mean(dim=0)
    torch.testing.assert_close(atlas.kl, expected, rtol=1e-4, atol=1e-5)
    assert atlas.active.tolist() == [True, True, True, False]


def test_directions_are_the_principal_ones(charted):
    model, pictures, atlas = charted
    with torch.inference_mode():
        mean = model.encode(to_tensor(pictures)).mean
    torch.testing.assert_close(atlas.directions @ atlas.directions.T, torch.eye(4), atol=1e-4, rtol=0)
    along = (mean - mean.mean(dim=0)) @ atlas.directions.T
    torch.testing.assert_close(along.std(dim=0), atlas.spreads, rtol=1e-3, atol=1e-4)
    assert atlas.spreads.tolist() == sorted(atlas.spreads.tolist(), reverse=True)


def test_examples_are_heldout_pictures(charted):
    _, pictures, atlas = charted
    assert len(atlas.examples) == fit.EXAMPLES
    assert all((pictures[:100] == example).all(axis=(1, 2, 3)).any() for example in atlas.examples)


def test_a_visitor_starts_where_asked_and_then_from_one_of_each_kind(charted):
    model, pictures, _ = charted
    heldout, labels = pictures[:100], np.arange(100) % 3

    def rows(**asked) -> list[int]:
        examples = fit_atlas(model, pictures[:200], heldout=heldout, labels=labels, **asked).examples
        return [next(row for row in range(100) if np.array_equal(heldout[row], example)) for example in examples]

    plain = rows()
    assert [row % 3 for row in plain] == [0, 1, 2]
    asked = next(row for row in range(1, 100, 3) if row not in plain)
    assert rows(first=asked) == [asked, plain[0], plain[2]]


def test_an_atlas_follows_its_seed(charted):
    model, pictures, _ = charted
    plain, zero, one = (
        fit_atlas(model, pictures[:200], heldout=pictures[:45], **seed) for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert np.array_equal(plain.examples, zero.examples)
    assert torch.equal(plain.likelihoods, zero.likelihoods)
    assert not torch.equal(zero.likelihoods, one.likelihoods)


def test_where_no_picture_may_be_shown_the_model_draws_them(charted):
    model, pictures, _ = charted
    one, same, other = (
        fit_atlas(model, pictures[:200], heldout=pictures[:45], may_show=False, seed=seed) for seed in (0, 0, 1)
    )
    assert one.examples.shape == (fit.EXAMPLES, 8, 8, 3)
    assert np.array_equal(one.examples, same.examples)
    assert not np.array_equal(one.examples, other.examples)
    assert not any((pictures == example).all(axis=(1, 2, 3)).any() for example in one.examples)
    drawn = other.mixture.sample(fit.DRAWN_EXAMPLES, 1, fit.DRAWN_TEMPERATURE)
    with torch.inference_mode():
        every = to_pictures(model.decode(drawn)).astype(int)
    assert all((np.abs(every - example).max(axis=(1, 2, 3)) <= 1).any() for example in other.examples)
    assert len(np.unique(one.examples, axis=0)) == fit.EXAMPLES
    assert torch.equal(one.mixture.means, same.mixture.means)
    assert not torch.equal(one.likelihoods, other.likelihoods)


NORMAL = Mixture(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None])  # likelier the nearer to 0


def flat(greys: np.ndarray) -> np.ndarray:
    """(N,) -> (N, 4, 4, 1): half of a picture is black, the other so bright; the brighter, the more vivid."""
    half = (np.arange(4) < 2)[None, :, None, None]
    return np.broadcast_to(greys[:, None, None, None] * half, (len(greys), 4, 4, 1)).astype(np.uint8)


def test_examples_are_remade_well_and_likely_and_vivid_and_one_of_each_cluster():
    rng, count = np.random.default_rng(0), 80
    turn = 2 * np.pi * (np.arange(8 * count) % fit.EXAMPLES) / fit.EXAMPLES  # ten clusters on a circle
    radius = np.where(np.arange(8 * count) % 4 < 2, 1, 3)
    z = torch.tensor(radius * [np.cos(turn), np.sin(turn)]).T.float() + 0.01 * torch.randn(8 * count, 2)
    pictures = flat(rng.integers(100, 200, 8 * count))
    is_blurred = np.arange(8 * count) >= 4 * count
    again = np.where(is_blurred[:, None, None, None], 255 - pictures, pictures)
    found = telling(NORMAL, z, pictures, again)
    vivid = pictures[(np.arange(8 * count) % 4 < 2) & ~is_blurred].max(axis=(1, 2, 3))
    assert len(set(found)) == fit.EXAMPLES
    assert not is_blurred[found].any()
    assert (z[found].norm(dim=1) < 2).all()
    assert (pictures[found].max(axis=(1, 2, 3)) >= np.median(vivid)).all()
    assert pictures[found[0]].max() == vivid.max()
    assert len({row % fit.EXAMPLES for row in found}) == fit.EXAMPLES
    assert telling(NORMAL, z, pictures, again, first=7)[0] == 7


def test_of_each_label_the_most_vivid_good_picture_is_the_example():
    pictures = flat(np.array([90, 200, 100, 80, 70, 210, 60, 50]))
    again = np.where(
        np.isin(np.arange(8), [1, 5])[:, None, None, None], 255 - pictures, pictures
    )  # the brightest: blurred
    labels = np.repeat(["one", "nine"], 4)
    assert telling(NORMAL, torch.zeros(8, 2), pictures, again, labels) == [4, 0]
    assert telling(NORMAL, torch.zeros(8, 2), pictures, again, labels, first=3) == [3, 4]


def test_few_pictures_are_all_examples_and_none_comes_twice():
    for labels in (None, np.array([1, 1, 1, 9, 9, np.nan])):  # a gap makes no kind
        assert sorted(telling(NORMAL, torch.zeros(6, 2), flat(np.arange(6)), flat(np.arange(6)), labels)) == list(
            range(6)
        )
    assert telling(NORMAL, torch.zeros(1, 2), flat(np.ones(1)), flat(np.ones(1))) == [0]
    for count in (fit.EXAMPLES, fit.EXAMPLES + 1):  # as many labels as examples are kinds, more are none
        greys = np.arange(1, 3 * count + 1)
        found = telling(NORMAL, torch.randn(3 * count, 2), flat(greys), flat(greys), np.arange(3 * count) % count)
        assert len(set(found)) == fit.EXAMPLES
        assert ([row % count for row in found] == list(range(count))) == (count == fit.EXAMPLES)


def test_knobs_read_what_they_move(charted):
    _, _, atlas = charted
    knobs = atlas.knobs
    kinds = [knob.kind for knob in knobs]
    assert kinds == sorted(kinds, key=["named", "direction", "unit"].index)
    units = [int(knob.key.split(":")[1]) for knob in knobs if knob.kind == "unit"]
    assert units == atlas.kl.argsort(descending=True)[:3].tolist()  # the sleeping one has no knob
    z = torch.randn(4)
    for knob in knobs:
        assert knob.low < 0 < knob.high
        before, after = (float(at @ knob.probe) - knob.offset for at in (z, z + 0.7 * knob.vector))
        assert after - before == pytest.approx(0.7, abs=1e-4)
        if knob.kind != "unit":
            assert float(atlas.mean @ knob.probe) - knob.offset == pytest.approx(0, abs=1e-4)


def test_saved_and_loaded_is_the_same(charted, tmp_path):
    atlas = charted[2]
    atlases.save(atlas, tmp_path)
    loaded = atlases.load(tmp_path)
    for field in ("kl", "mean", "covariance", "spreads", "likelihoods"):
        assert torch.equal(getattr(loaded, field), getattr(atlas, field))
    torch.testing.assert_close(loaded.directions, atlas.directions, atol=1e-3, rtol=0)
    assert np.array_equal(loaded.examples, atlas.examples)
    assert loaded.familiar_error == atlas.familiar_error
    assert [dataclasses.replace(row, vector=0) for row in loaded.named] == [
        dataclasses.replace(row, vector=0) for row in atlas.named
    ]
    for prior in PRIORS:
        torch.testing.assert_close(loaded.prior(prior, 5, 1), atlas.prior(prior, 5, 1), atol=5e-3, rtol=0)
    z = atlas.prior("mixture", 200, 1)
    assert (loaded.typicality(z) - atlas.typicality(z)).abs().max() < 0.02
    assert {knob.key for knob in loaded.knobs} == {knob.key for knob in atlas.knobs}
    again = tmp_path / "again"
    again.mkdir()
    atlases.save(loaded, again)
    assert (again / "atlas.safetensors").read_bytes() == (tmp_path / "atlas.safetensors").read_bytes()


def test_an_atlas_of_an_earlier_version_is_read_with_all_its_digits(charted, tmp_path):
    atlas = charted[2]
    atlases.save(atlas, tmp_path)
    tensors = safetensors.torch.load((tmp_path / "atlas.safetensors").read_bytes())
    tensors |= {
        "directions": atlas.directions,
        "mixture.means": atlas.mixture.means,
        "mixture.factors": atlas.mixture.factors,
    }
    tensors["examples"] = torch.from_numpy(atlas.examples)
    (tmp_path / "atlas.safetensors").write_bytes(safetensors.torch.save(tensors))
    words = json.loads((tmp_path / "atlas.json").read_text())
    del words["examples"]
    (tmp_path / "atlas.json").write_text(json.dumps(words))
    loaded = atlases.load(tmp_path)
    assert torch.equal(loaded.prior("mixture", 5, 1), atlas.prior("mixture", 5, 1))
    assert np.array_equal(loaded.examples, atlas.examples)


def test_grey_examples_come_back_byte_by_byte(charted, tmp_path):
    atlas = dataclasses.replace(charted[2], examples=charted[1][:10, ..., :1], judge=None)
    atlases.save(atlas, tmp_path)
    assert np.array_equal(atlases.load(tmp_path).examples, atlas.examples)


NO_SHAPES = (
    [10, 8, 8, 1, 1],
    [10, 8, 4, 3],
    [5, 16, 16, 3],
    [10, 8, 8, 2],
    [10**9, 8, 8, 3],
    [10, "8", 8, 3],
    "10",
    {"a": 1},
    7,
)


@pytest.mark.parametrize("shape", NO_SHAPES)
def test_examples_of_another_shape_than_the_words_say_are_refused(charted, tmp_path, shape):
    atlases.save(charted[2], tmp_path)
    words = json.loads((tmp_path / "atlas.json").read_text())
    (tmp_path / "atlas.json").write_text(json.dumps(words | {"examples": shape}))
    with pytest.raises(BadInput, match="atlas"):
        atlases.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"RIFF no picture", b"\x89PNG\r\n\x1a\n"])
def test_examples_that_are_no_webp_are_refused(charted, tmp_path, content):
    atlases.save(charted[2], tmp_path)
    tensors = safetensors.torch.load((tmp_path / "atlas.safetensors").read_bytes())
    tensors["examples"] = torch.tensor(list(content), dtype=torch.uint8)
    (tmp_path / "atlas.safetensors").write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(BadInput, match="atlas"):
        atlases.load(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        "no json",
        "no tensors",
        "cut",
        "a pickle",
        "another shape",
        "a stranger",
        "not finite",
        "a weight below 0",
    ],
)
def test_a_damaged_atlas_is_refused(charted, tmp_path, damage):
    atlases.save(charted[2], tmp_path)
    file = tmp_path / "atlas.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())  # load_file would map the file that is overwritten below
    if damage == "no json":
        (tmp_path / "atlas.json").unlink()
    elif damage == "no tensors":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "a pickle":
        torch.save(tensors, file)
    else:
        if damage == "another shape":
            tensors["mean"] = tensors["mean"][:-1].contiguous()
        elif damage == "a stranger":
            tensors["stranger"] = torch.zeros(1)
        elif damage == "not finite":
            tensors["covariance"][0, 0] = torch.nan
        else:
            tensors["mixture.weights"][0] = -1
        safetensors.torch.save_file(tensors, file)
    with pytest.raises(BadInput, match="missing or damaged"):
        atlases.load(tmp_path)


def test_an_unknown_prior_is_named(charted):
    with pytest.raises(BadInput, match="'flow'"):
        charted[2].prior("flow", 1, 0)


def test_familiar_is_what_the_heldout_pictures_are(charted):
    model, pictures, atlas = charted
    with torch.inference_mode():
        x = to_tensor(pictures[:100])
        errors = (model.decode(model.encode(x).mode()) - x).square().mean(dim=(1, 2, 3))
    assert 0.97 <= (errors <= atlas.familiar_error).float().mean() <= 1


def test_typical_is_what_most_heldout_latents_are(charted):
    model, pictures, atlas = charted
    with torch.inference_mode():
        posterior = model.encode(to_tensor(pictures[:100]))  # the ones that were held out
    noise = torch.randn(20, *posterior.mean.shape, generator=torch.Generator().manual_seed(1))
    found = atlas.typicality((posterior.mean + noise * posterior.std()).flatten(0, 1))
    assert ((found >= 0) & (found <= 1)).all()
    for share in (0.25, 0.5, 0.75):  # each quarter of them lies in its quarter
        assert (found < share).float().mean() == pytest.approx(share, abs=0.08)
    assert (atlas.typicality(atlas.mean + 30 * atlas.spreads[0] * atlas.directions) == 0).all()
