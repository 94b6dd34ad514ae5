"""Looks change how a picture is shown, not what it shows."""

import numpy as np
import pytest

from ui import looks
from vae.errors import BadInput


@pytest.mark.parametrize("channels", [1, 3])
def test_finished_pictures_are_four_times_as_large_and_show_the_same(channels):
    across = np.linspace(40, 210, 32).astype(np.uint8)
    picture = np.broadcast_to(across[None, :, None], (32, 32, channels)).copy()
    for look in looks.LOOKS:
        made = looks.finish(picture, look)
        assert made.shape[:2] == (128, 128)
        assert made.dtype == np.uint8
        assert np.array_equal(made, looks.finish(picture, look))  # the grain too
        if look != "ink":  # from dark to light, as it was
            thirds = [part.mean() for part in np.array_split(made[32:-32], 4, axis=1)]
            assert thirds == sorted(thirds)
    flat = looks.finish(np.full((16, 16, channels), 200, np.uint8), "ink")
    assert (flat == 255).all()  # ink draws edges; where there are none the paper stays white


def test_ink_draws_the_edge_of_a_dark_shape():
    picture = np.full((32, 32, 3), 230, np.uint8)
    picture[8:24, 8:24] = 120
    ink = looks.finish(picture, "ink")[..., 0]
    assert ink[64, 64] > 150 > ink[64, 34:40].min()


def test_an_unknown_look_is_said():
    with pytest.raises(BadInput, match="polished"):
        looks.finish(np.zeros((8, 8, 3), np.uint8), "sparkling")
