"""What the Train tab shows of a run, and what its handlers make of strange requests."""

import re

import pytest

from ui import jobs, train
from vae.errors import BadInput

RUN = {
    "state": "learning", "stopping": False, "epoch": 3, "seen": 20000, "fraction": 0.25, "pictures_per_second": 1234.5,
    "seconds_left": 44.4, "history": [[10, 300.0, 4.0], [20, 200.0, 9.0], [30, 150.0, 8.0]], "unit_kl": [0.0, 3.0, 1.5],
    "awake": 2, "note": "", "revision": 1, "done": False,
}  # fmt: skip


def points(svg: str, kind: str) -> list[list[float]]:
    (line,) = re.findall(rf'class="{kind}" points="([^"]+)"', svg)
    return [[float(number) for number in point.split(",")] for point in line.split()]


def test_each_curve_fills_its_own_scale_from_left_to_right():
    svg = train.curves(RUN["history"])
    wrong, cost = points(svg, "wrong"), points(svg, "cost")
    assert [point[0] for point in wrong] == pytest.approx([train.LEFT, (train.LEFT + train.RIGHT) / 2, train.RIGHT])
    assert [point[1] for point in wrong] == pytest.approx([train.TOP, 77.3, train.BOTTOM], abs=0.1)
    assert [point[1] for point in cost] == pytest.approx([train.BOTTOM, train.TOP, 31.6], abs=0.1)


@pytest.mark.parametrize("history", [[], [[1, 5.0, 2.0]], [[1, 5.0, 2.0]] * 2, [[k, 0.0, 0.0] for k in range(300)]])
def test_curves_can_be_drawn_of_anything(history):
    assert "nan" not in train.curves(history)


def test_bars_show_the_knob_that_says_most_first_and_the_sleeping_ones_pale():
    svg = train.bars(RUN["unit_kl"], RUN["awake"])
    assert re.findall('rect class="(awake|asleep)"', svg) == ["awake", "awake", "asleep"]
    heights = [float(height) for height in re.findall('height="([^"]+)"', svg)]
    assert heights[0] == pytest.approx(train.BOTTOM - train.TOP)
    assert heights[1] == pytest.approx(heights[0] / 2)
    assert train.bars([], 0).endswith("></svg>")
    assert train.bars([0.0], 0).count("<rect") == 1


def test_the_status_gives_epoch_speed_and_time_left():
    text = train.status(RUN)
    assert "epoch 3 · 1,234 pictures/s · 44 s left" in text
    assert 'aria-valuenow="25"' in text


def test_a_message_is_text_and_never_becomes_part_of_the_page():
    text = train.status({"state": "failed", "message": "<img src=x onerror=alert(1)>"})
    assert "<img" not in text
    assert "&lt;img" in text


@pytest.mark.parametrize("state", ["waiting", "learning", "finishing", "done", "failed", "gone"])
def test_every_state_has_its_words(state):
    assert 'role="progressbar"' in train.status({**RUN, "state": state, "message": "It broke."})


@pytest.mark.parametrize("tokens", [None, "x", 5, [], ["../../etc"], [["x"]], {"a": 1}, ["a" * 32]])
def test_strange_tokens_show_the_tab_as_before_any_run(tokens, monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_RUNS", str(tmp_path))
    shown = train.watch(tokens, "")
    assert 'data-state="idle"' in shown[0]
    train.stop(tokens)
    with pytest.raises(BadInput):
        train.explore(tokens)


@pytest.mark.parametrize("dials", [None, {}, [], "x", {"latent": 8}, {"latent": 8, "beta": float("nan"), "minutes": 1}])
def test_a_start_without_its_numbers_is_refused(dials, monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_RUNS", str(tmp_path))
    with pytest.raises(BadInput):
        train.start("digits", dials, None, [])
    assert not list(tmp_path.iterdir())


def test_the_stops_of_the_dials_lie_within_what_a_run_takes():
    for name, (low, high) in {"latent": jobs.LATENT, "beta": jobs.BETA, "minutes": jobs.MINUTES}.items():
        stops = train.STOPS[name]
        assert (stops[0], stops[-1]) == (low, high)
        assert list(stops) == sorted(stops)
        assert all(preset.get(name, stops[0]) in stops for preset in train.PRESETS.values())
