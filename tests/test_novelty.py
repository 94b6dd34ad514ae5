"""New or copied: the sketch of what a model learnt from, against scikit-learn, on a model whose copies are known."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.neighbors import NearestNeighbors

from vae import checkpoints
from vae.atlas import COORDINATES, SHARES
from vae.data import Pictures
from vae.errors import BadInput
from vae.measure import novelty
from vae.measure.novelty import COPY, FILE, Sketch
from vae.pictures import sets


@pytest.fixture(scope="module")
def digits():
    return checkpoints.load("digits")


@pytest.fixture(scope="module")
def parts() -> tuple[Pictures, Pictures]:
    learnt, held = sets.load("digits-small", size=28, channels=1, framing="digit")
    return learnt.take(slice(0, 3000)), held.take(slice(0, 500))


@pytest.fixture(scope="module")
def known(digits, parts):
    """The shipped digits, as if they had learnt from these 3,000 alone."""
    learnt, held = parts
    return dataclasses.replace(digits, sketch=novelty.sketch(digits.model, digits.atlas, learnt.images, held.images))


def test_distances_are_scikit_learns(known, parts):
    z = known.atlas.prior("mixture", 600, 1)
    true = known.atlas.coordinates(known.encode(parts[0].images))
    steps = true.abs().amax(dim=0) / 127
    wanted = NearestNeighbors(n_neighbors=1).fit(true).kneighbors(known.atlas.coordinates(z))[0][:, 0]
    found = known.sketch.distance(known.atlas.coordinates(z))
    np.testing.assert_allclose(found, wanted, atol=float(steps.norm()) / 2 + 1e-4)  # as far as rounding moves a row


def test_a_copy_is_called_a_copy_and_a_fresh_draw_is_not(known, parts):
    copies = known.novelty(known.encode(parts[0].images[:200]))
    fresh = known.novelty(known.atlas.prior("mixture", 200, 5))
    assert (copies < COPY).float().mean() > 0.95
    assert (fresh >= COPY).float().mean() > 0.95


def test_held_out_pictures_are_spread_evenly_over_the_shares(known, parts):
    """Of others that it never saw a tenth lies in each tenth, about."""
    other = sets.load("digits-small", size=28, channels=1, framing="digit")[1].take(slice(500, 900))
    posterior = known.posterior(other.images)
    shares = known.novelty(posterior.mean + posterior.std() * torch.randn(posterior.mean.shape))
    counts = np.histogram(shares, bins=5, range=(0, 1))[0] / len(shares)
    np.testing.assert_allclose(counts, 0.2, atol=0.08)


def test_a_sketch_comes_back_from_its_file(known, tmp_path):
    novelty.save(known.sketch, tmp_path)
    again = novelty.load(tmp_path)
    for name in ("rows", "scale", "heldout"):
        assert torch.equal(getattr(again, name), getattr(known.sketch, name))
    assert again.of == 3000 and not again.is_part
    assert (tmp_path / FILE).stat().st_size < 3000 * COORDINATES + 2000


def test_of_many_pictures_a_part_is_kept_and_it_says_so(digits, parts, monkeypatch):
    monkeypatch.setattr(novelty, "MOST_ROWS", 100)
    found = novelty.sketch(digits.model, digits.atlas, parts[0].images[:300], parts[1].images[:50])
    assert len(found.rows) == 100 and found.of == 300 and found.is_part


def test_where_too_few_are_held_out_there_is_no_sketch_and_without_one_nothing_is_said(digits, parts, tmp_path):
    assert novelty.sketch(digits.model, digits.atlas, parts[0].images[:50], parts[1].images[:3]) is None
    assert novelty.load(tmp_path) is None
    assert dataclasses.replace(digits, sketch=None).novelty(digits.atlas.mean[None]) is None


def damage(**parts: torch.Tensor) -> dict[str, torch.Tensor]:
    whole = {
        "rows": torch.zeros(5, 3, dtype=torch.int8), "scale": torch.ones(3), "heldout": torch.linspace(0, 1, SHARES),
        "of": torch.tensor([5]),
    }  # fmt: skip
    return whole | parts


@pytest.mark.parametrize(
    "tensors",
    [
        damage(rows=torch.zeros(5, 3)), damage(rows=torch.zeros(0, 3, dtype=torch.int8)), damage(scale=torch.ones(4)),
        damage(rows=torch.zeros(15, dtype=torch.int8)), damage(scale=torch.tensor([1.0, torch.nan, 1.0])),
        damage(more=torch.ones(1)),
        damage(heldout=torch.linspace(1, 0, SHARES)), damage(of=torch.tensor([4])), damage(heldout=torch.zeros(3)), {},
        damage(rows=torch.zeros(5, 17, dtype=torch.int8), scale=torch.ones(17)), {"rows": torch.tensor(1, dtype=torch.int8)},
        damage(rows=torch.zeros(novelty.MOST_ROWS + 1, 3, dtype=torch.int8), of=torch.tensor([99_999])),
    ],
)  # fmt: skip
def test_a_damaged_sketch_is_refused_in_a_sentence(tensors, tmp_path):
    safetensors.torch.save_file(tensors, tmp_path / FILE)
    with pytest.raises(BadInput, match=FILE) as refused:
        novelty.load(tmp_path)
    assert len(str(refused.value)) < 200


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(BadInput, match=FILE):
        novelty.load(tmp_path)


def test_the_nearest_picture_of_a_reconstruction_is_its_original(digits, parts):
    few = parts[0].take(slice(0, 40))
    found = novelty.nearest(digits, digits.encode(few.images[:6]), few)
    assert found["latents"].shape == (6, 3)
    assert found["latents"][:, 0].tolist() == list(range(6))
    if "features" in found:
        assert (found["features"][:, 0] == np.arange(6)).mean() >= 0.8


def test_nothing_is_nearer_than_a_row_itself():
    sketch = Sketch(
        torch.tensor([[127, 0], [0, -127]], dtype=torch.int8), torch.tensor([0.1, 0.1]), torch.linspace(1, 2, SHARES), 2
    )
    shares = sketch.novelty(torch.tensor([[12.7, 0.0], [12.7, 1.5], [100.0, 0.0]]))
    torch.testing.assert_close(shares, torch.tensor([0.0, 0.5, 1.0]), atol=1e-5, rtol=0)
    assert sketch.novelty(torch.empty(0, 2)).shape == (0,)
