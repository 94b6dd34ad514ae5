"""Where an attribute shows in pictures, against scikit-learn's analysis of variance; and what becomes of it in the loss."""

import numpy as np
import pytest
from sklearn.feature_selection import f_classif

from vae.data import Pictures
from vae.errors import BadInput
from vae.measure.regions import pixel_weights, told

RNG = np.random.default_rng(0)
KINDS = RNG.choice(["round", "square", "star"], 600)
GREY = RNG.integers(0, 256, (600, 6, 8, 1), dtype=np.uint8)
GREY[KINDS == "star", 1:3, 1:4] = RNG.integers(200, 256, (int((KINDS == "star").sum()), 2, 3, 1))


def test_the_share_told_is_that_of_an_analysis_of_variance():
    flat = GREY.reshape(len(GREY), -1).astype(float)
    ratio, _ = f_classif(flat, KINDS)  # F = (eta2 / 2) / ((1 - eta2) / (N - 3)) with three kinds
    expected = 2 * ratio / (2 * ratio + len(GREY) - 3)
    np.testing.assert_allclose(told(GREY, KINDS), expected.reshape(6, 8), rtol=1e-5)


def test_a_gap_is_left_out_and_a_still_pixel_tells_nothing():
    pictures, kinds = GREY.copy(), KINDS.copy()
    pictures[:, 5] = 7
    kinds[:200] = ""
    np.testing.assert_allclose(told(pictures, kinds), told(pictures[200:], kinds[200:]))
    assert (told(pictures, kinds)[5] == 0).all()
    numbers = np.where(KINDS == "star", 1.0, 0.0)
    numbers[:100] = np.nan
    np.testing.assert_allclose(told(GREY, numbers), told(GREY[100:], KINDS[100:] == "star"))


def test_a_column_of_gaps_alone_weighs_nothing_and_a_slip_is_a_gap():
    pictures = Pictures(GREY, [str(i) for i in range(600)], {"empty": np.full(600, np.nan), "none": np.full(600, "")})
    np.testing.assert_array_equal(pixel_weights(pictures, {"empty": 5.0, "none": 5.0}), np.ones((6, 8), np.float32))
    numbers, slip = np.where(KINDS == "star", 1.0, 0.0), np.where(KINDS == "star", 1.0, 0.0)
    numbers[0], slip[0] = np.nan, 1e300
    np.testing.assert_allclose(told(GREY, slip), told(GREY, numbers))


def test_a_column_of_many_numbers_tells_where_it_shows():
    height = RNG.random(600)
    pictures = GREY.copy()
    pictures[:, 4, 6, 0] = 255 * height
    share = told(pictures, height)
    assert share[4, 6] > 0.9
    assert np.delete(share.ravel(), 4 * 8 + 6).max() < 0.1


def test_pixels_weigh_most_where_a_column_shows_most():
    pictures = Pictures(
        GREY, [str(i) for i in range(600)], {"kind": KINDS, "chance": RNG.integers(0, 2, 600).astype(float)}
    )
    weight = pixel_weights(pictures, {"kind": 9.0})
    assert weight.dtype == np.float32
    assert weight.max() == pytest.approx(9.0)
    assert weight[1:3, 1:4].min() > 6 > 1.5 > np.delete(weight, [1, 2], axis=0).max()
    mirrored = pixel_weights(pictures, {"kind": 9.0}, flip=True)
    np.testing.assert_allclose(mirrored, mirrored[:, ::-1])
    both = pixel_weights(pictures, {"kind": 9.0, "chance": 2.0})
    assert (both >= weight).all()
    assert pixel_weights(pictures, {}) is None


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="hat"):
        pixel_weights(Pictures(GREY, ["a"] * 600, {"kind": KINDS}), {"hat": 2.0})
