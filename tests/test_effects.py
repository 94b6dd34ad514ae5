"""Knobs by what comes out, in a world whose truth is known: bars drawn by a formula, each number with its own effect."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.test_atlas import bare_atlas
from tests.test_checkpoints import CONFIG, squares
from vae import checkpoints
from vae.atlas import Atlas, Named
from vae.errors import BadInput
from vae.measure import effects, evaluation, reader
from vae.measure.effects import GRID, HOME, TURNED, Judge, Walker, judged, nested, table_of, with_effects
from vae.measure.reader import fit_reader
from vae.model import VAE, Posterior, VAEConfig, decoded
from vae.publish.folder import publish
from vae.storage import atlases

SIDE = 16
BRIGHT = 0.3  # from here on a bar is called bright
TANGLED = torch.tensor([1.0, 0.8, 0.0, 0.0])  # on the way to bright it goes to the right
BREAKS = 3.0  # of the fourth number: beyond it no bar is drawn, but stripes


class Bars(nn.Module):
    """(N, 4) -> logits (N, 1, SIDE, SIDE) of a bar: how bright, how far right, how long.

    The fourth number draws nothing, but where it is broken (from, to) there are stripes, as bright as they are.
    """

    def __init__(self, broken: tuple[float, float] = (BREAKS, math.inf), stripes: float = 0.9):
        super().__init__()
        self.broken, self.stripes = broken, stripes

    def forward(self, z: Tensor) -> Tensor:
        bright, right, length, luck = z[:, :, None, None].unbind(1)  # (N, 1, 1)
        x = torch.linspace(-1, 1, SIDE).expand(SIDE, SIDE)
        inside = torch.sigmoid(20 * (0.2 + 0.3 * torch.sigmoid(length) - (x - 0.45 * torch.tanh(1.5 * right)).abs()))
        rows = torch.sigmoid(20 * (0.3 - x.T.abs()))
        light = inside * rows * (0.25 + 0.7 * torch.sigmoid(2 * bright))
        stripes, (least, most) = (torch.arange(SIDE) % 2 * self.stripes).expand(SIDE, SIDE), self.broken
        return torch.logit(torch.where((luck < least) | (luck > most), light, stripes).clamp(0.01, 0.99))[:, None]


class Ruler(nn.Module):
    """(N, 1, SIDE, SIDE) -> the numbers of the bar in the picture, read off its light, its middle and its length."""

    def forward(self, x: Tensor) -> Posterior:
        light, places = x[:, 0].amax(dim=1), torch.linspace(-1, 1, SIDE)  # (N, SIDE)
        bright = torch.logit(((light.amax(dim=1) - 0.25) / 0.7).clamp(0.01, 0.99)) / 2
        right = torch.atanh(((light * places).sum(dim=1) / light.sum(dim=1) / 0.45).clamp(-0.99, 0.99)) / 1.5
        half = light.sum(dim=1) / light.amax(dim=1) / (SIDE - 1)
        length = torch.logit(((half - 0.2) / 0.3).clamp(0.01, 0.99))
        mean = torch.stack([bright, right, length, torch.zeros(len(x))], dim=1)
        return Posterior(mean, torch.full_like(mean, -6))


def latents(count: int, seed: int) -> Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


def columns_of(z: Tensor) -> dict[str, np.ndarray]:
    kinds = np.where(z[:, 1] > 0, "right", "left")
    return {
        "bright": (z[:, 0] > BRIGHT).double().numpy(),
        "length": z[:, 2].double().numpy(),
        "luck": (z[:, 3] > 0).double().numpy(),
        "side": kinds,
    }


@pytest.fixture(scope="module")
def world() -> tuple[VAE, Atlas]:
    """The bars' model, and an atlas with a direction for each column: a tangled one, and one of pure luck."""
    config = VAEConfig(size=SIDE, channels=1, latent=4, widths=(8,), stem=2)
    model = VAE(config, encoder=Ruler(), decoder=Bars()).eval()
    places = {"bright": TANGLED, "length": torch.eye(4)[2], "luck": torch.eye(4)[3], "side=right": torch.eye(4)[1]}
    named = tuple(
        Named(name, vector, "correlation" if name == "length" else "balanced accuracy", 0.95, 0.5)
        for name, vector in places.items()
    )
    return model, dataclasses.replace(bare_atlas(4), named=named)


@pytest.fixture(scope="module")
def judge(world) -> Judge:
    z, names = latents(1500, 0), [row.name for row in world[1].named]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "EPOCHS", 10)
        patch.setattr(reader, "STEPS", 100)
        net = fit_reader(decoded(world[0], z), table_of(columns_of(z), names))
    return Judge(
        world[0],
        net,
        names,
        torch.tensor([True, False, True, True]),
        torch.tensor([True, True, False, True]),
        nested=set(),
    )


@pytest.fixture(scope="module")
def known(world, judge) -> Atlas:
    means, table = latents(1500, 0), table_of(columns_of(latents(1500, 0)), judge.names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "LEAST_STEPS", 80)
        return dataclasses.replace(world[1], named=judged(judge, world[1], table, means, latents(400, 1), 0))


def test_a_knob_is_what_comes_out_and_not_what_can_be_read(world, known):
    """Luck lies in the latents for anybody to read, and nothing comes of it."""
    assert "named:luck" in [knob.key for knob in world[1].knobs]
    keys = {knob.key for knob in known.knobs if knob.kind == "named"}
    assert keys == {"named:bright", "named:length", "named:side=right"}
    assert [row.effect for row in known.named if row.name == "luck"] == [0.0]
    assert "luck" not in known.traits


def test_one_step_turns_most_and_the_travels_end_nearly_all_by_the_formula(known):
    """Counted on other latents, by the numbers that drew them: no reader has a part in it."""
    z = latents(2000, 2)
    rows = {row.name: row for row in known.named}
    for name, place, bar in (("bright", 0, BRIGHT), ("side=right", 1, 0.0), ("length", 2, 1.0)):
        without = z[z[:, place] < bar]
        stepped = without + rows[name].vector
        assert 0.6 < (stepped[:, place] > bar).float().mean() < 0.99, name
        (knob,) = (knob for knob in known.knobs if knob.key == f"named:{name}")
        at = without @ knob.probe - knob.offset
        assert ((without + (knob.high - at)[:, None] * knob.vector)[:, place] > bar).float().mean() > 0.9, name


def test_a_direction_unlearns_what_it_drags(world, judge, monkeypatch):
    monkeypatch.setattr(effects, "LEAST_STEPS", 80)
    means, table = latents(1500, 0), table_of(columns_of(latents(1500, 0)), judge.names)
    vector = effects.steer(judge, world[1], table, means)[0]
    assert abs(vector[1] / vector[0]) < 0.3 < TANGLED[1] / TANGLED[0]
    monkeypatch.setattr(effects, "STILL", 0.0)
    vector = effects.steer(judge, world[1], table, means)[0]
    assert abs(vector[1] / vector[0]) > 0.3  # nothing else made it


def test_a_knob_that_turns_people_one_way_only_has_no_effect(known):
    """And its numbers are in steps, its trait where half as many lie as have it: here an eighth of all."""
    row = dataclasses.replace(known.named[0], share=0.25)
    walk = effects.Walk(torch.eye(4)[1], torch.eye(4)[1], -2.0, 4.0, 2.0, (0.9, 0.2), ("luck", 0.123))
    found = effects._named(row, walk, torch.linspace(0, 8, 1001))
    assert found.vector.tolist() == [0, 2, 0, 0]
    assert (found.effect, found.low, found.high, found.drags) == (0.2, -1, 2, ("luck", 0.12)) and not found.is_knob
    assert found.trait == pytest.approx(7 / 2)


def test_what_has_a_trait_by_its_reading_has_it_by_the_formula(known):
    drawn = known.prior("normal", 300, 1, only=["bright"])
    assert (drawn[:, 0] > BRIGHT).float().mean() > 0.8


def test_what_is_dragged_and_what_does_nothing_is_said(world, judge):
    walker = Walker(judge, world[1], latents(400, 1))
    other, share = walker.walk(0, TANGLED).drags
    assert other == "side=right"
    assert share == pytest.approx(0.8, abs=0.35)  # of z, whose readings are not quite in proportion
    clean = walker.walk(0, torch.eye(4)[0])
    assert clean.drags[1] < share / 2 and min(clean.shares) > 0.9
    assert max(walker.walk(0, torch.eye(4)[3]).shares) < 0.1


def test_what_has_a_kind_of_it_has_it_and_is_not_dragged(judge):
    hat, trapper, smile, age = [1, 1, 0, np.nan, 0], [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 3, 1, 1]
    found = nested(np.array([hat, trapper, smile, age]).T, np.array([True, True, True, False]))
    assert found == {(0, 1), (1, 0), (1, 2), (2, 1)}  # who wears a trapper smiles, here
    assert judge.others(0) == [1, 3]
    assert dataclasses.replace(judge, nested={(0, 3), (1, 0)}).others(0) == [1]


def test_the_travel_ends_where_pictures_break(world, judge):
    walker = Walker(judge, world[1], latents(400, 1))
    assert walker.walk(0, torch.eye(4)[3]).high < BREAKS  # says nothing of bright, so that nobody turns
    assert walker.walk(0, torch.tensor([0.2, 0.0, 0.0, 1.0])).high < BREAKS + GRID  # and so somebody does


def test_a_travel_passes_over_what_lies_between_two_kinds(world, judge):
    """Stripes are neither dark nor bright, but beyond them there are whole bars, and nearly all of these are bright."""
    model = VAE(world[0].config, encoder=Ruler(), decoder=Bars(broken=(2.6, 3.4), stripes=0.3)).eval()
    walker = Walker(dataclasses.replace(judge, model=model), world[1], latents(400, 1))
    walk = walker.walk(0, torch.tensor([0.4, 0.0, 0.0, 1.0]))
    assert walk.high > 3.4 and walk.shares[0] > TURNED - 0.1


def test_a_picture_that_changes_much_may_lose_more_before_it_is_broken(world, judge, monkeypatch):
    """Where the slightest error is strange, bars still go as far as ever: next to what changes it is little."""
    far = Walker(judge, world[1], latents(400, 1)).walk(0, TANGLED).high
    monkeypatch.setattr(effects, "STRANGE", 0.02)
    assert Walker(judge, world[1], latents(400, 1)).walk(0, TANGLED).high == far


def test_a_travel_holds_the_average_picture_where_all_else_breaks(world, judge, monkeypatch):
    monkeypatch.setattr(effects, "STRANGE", 0.0)
    monkeypatch.setattr(effects, "LOST", 0.0)
    walk = Walker(judge, world[1], latents(400, 1)).walk(0, TANGLED)
    assert walk.low <= -GRID and walk.high >= GRID


def test_a_travel_holds_nearly_all_pictures(world, judge, monkeypatch):
    monkeypatch.setattr(effects, "TURNED", 0.5)  # a short step
    walk = Walker(judge, world[1], latents(400, 1)).walk(0, torch.eye(4)[0])
    assert walk.step < 1.3 and walk.low <= -HOME and walk.high >= HOME


def test_what_a_reader_cannot_tell_in_heldout_pictures_has_no_effect(world, monkeypatch):
    """Held-out pictures are told of the other way round, and so a reader that learnt from the training set misses them all."""
    monkeypatch.setattr(reader, "STEPS", 100)
    monkeypatch.setattr(effects, "LEAST_STEPS", 20)
    monkeypatch.setattr(reader, "EPOCHS", 0)
    means = latents(1000, 0), latents(300, 1)
    atlas = dataclasses.replace(world[1], named=world[1].named[:1])
    pictures = tuple(decoded(world[0], z) for z in means)
    truth, told = (columns_of(z) for z in means)
    (right,) = with_effects(atlas, world[0], pictures, means, (truth, told))
    (wrong,) = with_effects(atlas, world[0], pictures, means, (truth, {"bright": 1 - told["bright"]}))
    assert right.effect > 0.8 and wrong.effect == 0 and wrong.vector is world[1].named[0].vector  # nobody walked


def test_a_reader_follows_its_seed_leaves_no_trace_and_counts_no_gap(world, monkeypatch):
    monkeypatch.setattr(reader, "STEPS", 20)
    pictures = decoded(world[0], latents(200, 3))
    table = table_of(columns_of(latents(200, 3)), ["bright", "length"])
    state = torch.random.get_rng_state()
    first, again, other = (fit_reader(pictures, table, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    table[:, 0] = np.nan
    blind = fit_reader(pictures, table, 1).state_dict()
    assert all(bool(tensor.isfinite().all()) for tensor in blind.values())


def test_a_reader_looks_at_a_published_model_and_a_visitor_does_not_wait_for_it(tmp_path, monkeypatch):
    for module, name in ((reader, "STEPS"), (effects, "LEAST_STEPS"), (evaluation, "COMPARED")):
        monkeypatch.setattr(module, name, 20)
    train, held = (
        dataclasses.replace(part, attributes={"light": (part.images.mean(axis=(1, 2, 3)) > 127).astype(float)})
        for part in (squares(400), squares(60))
    )
    for figures in (True, False):
        folder = tmp_path / f"{figures}"
        publish(folder, VAE(CONFIG.model).eval(), train, held, CONFIG, [[1, 2.0, 3.0]], figures=figures)
        (row,) = checkpoints.load(folder).atlas.named
        assert (row.effect is not None) == figures


def test_effects_survive_the_disk_and_atlases_without_them_are_as_they_were(known, world, tmp_path):
    for atlas in (known, world[1]):
        atlases.save(atlas, tmp_path)
        back = atlases.load(tmp_path)
        plain = [dataclasses.replace(row, vector=None) for row in atlas.named]
        assert [dataclasses.replace(row, vector=None) for row in back.named] == plain
        assert back.traits == atlas.traits and [knob.high for knob in back.knobs] == [knob.high for knob in atlas.knobs]


@pytest.mark.parametrize(
    "damage",
    [
        {"effect": "all"}, {"effect": True}, {"effect": 2}, {"effect": float("nan")}, {"low": 3, "high": 3}, {"low": None},
        {"high": float("inf")}, {"trait": "0"}, {"drags": "far"}, {"drags": ["side", "far"]}, {"drags": {"side": 1}},
        {"drags": ["nobody", 0.5]}, {"drags": ["luck", 0.5, 1]}, {"drags": ["luck"]}, {"drags": [["luck"], 0.5]}, {"drags": 5},
    ],
)  # fmt: skip
def test_damaged_effects_are_refused(known, tmp_path, damage):
    atlases.save(known, tmp_path)
    words = json.loads((tmp_path / "atlas.json").read_text())
    words["named"][0] |= damage
    (tmp_path / "atlas.json").write_text(json.dumps(words))
    with pytest.raises(BadInput, match="atlas"):
        atlases.load(tmp_path)
