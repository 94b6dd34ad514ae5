"""Distances between pictures against closed forms, scikit-image and definitions written out."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from vae.measure import distances, features

needs_network = pytest.mark.skipif(not features.has_network(), reason="the features' network is not installed")


def noise(count: int, side: int = 24, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def test_frechet_of_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    scales, moved = np.array([1.0, 2.0, 0.5]), np.array([3.0, -1.0, 0.0])
    a, b = rng.normal(size=(100_000, 3)), rng.normal(size=(100_000, 3)) * scales + moved
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]  # commuting covariances, but not diagonal ones
    expected = (moved**2).sum() + ((1 - scales) ** 2).sum()
    assert distances.frechet(a @ turn, b @ turn) == pytest.approx(expected, rel=0.02)
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-8)


def test_kernel_is_the_mean_over_pairs_and_unbiased():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)) + 1

    def k(x, y):
        return (sum(u * v for u, v in zip(x, y, strict=True)) / 4 + 1) ** 3

    same_a = np.mean([k(a[i], a[j]) for i in range(6) for j in range(6) if i != j])
    same_b = np.mean([k(b[i], b[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([k(x, y) for x in a for y in b])
    assert distances.kernel(a, b) == pytest.approx(same_a + same_b - 2 * across)
    draws = [distances.kernel(rng.normal(size=(40, 4)), rng.normal(size=(40, 4))) for _ in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / 20  # around 0 for one and the same distribution
    assert min(draws) < 0


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_scikit_images(channels):
    a = np.repeat(np.repeat(noise(4, 8, channels), 4, axis=1), 4, axis=2)
    b = (0.7 * a + 0.3 * noise(4, 32, channels, seed=1)).astype(np.uint8)
    theirs = [
        structural_similarity(
            one, other, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for one, other in zip(a, b, strict=True)
    ]
    assert distances.ssim(a, b) == pytest.approx(np.mean(theirs), abs=1e-6)
    assert distances.ssim(a, a) == pytest.approx(1)


def test_the_nearest_picture_is_found():
    known = noise(1200, 32)
    asked = known[[7, 1100]].copy()
    asked[1, :, :, 0] = np.where(asked[1, :, :, 0] < 128, asked[1, :, :, 0] + 51, asked[1, :, :, 0] - 51)
    found = distances.nearest(asked, known)
    assert found[0] == pytest.approx(0, abs=1e-3)
    assert found[1] == pytest.approx((0.2**2 / 3) ** 0.5, abs=1e-3)


@needs_network
def test_features_tell_likeness():
    plain = np.full((3, 48, 48, 3), 128, np.uint8)
    plain[:, 12:36, 12:36] = np.array([[250, 40, 40], [40, 250, 40], [40, 40, 250]], np.uint8)[:, None, None]
    near = np.clip(plain.astype(int) + 6, 0, 255).astype(np.uint8)
    far = noise(3, 48)
    assert distances.perceptual(plain, plain) == pytest.approx(0, abs=1e-5)
    assert 0 < distances.perceptual(plain, near) < 0.5 * distances.perceptual(plain, far)
    found = distances.features(plain)
    assert found.shape == (3, 1280)
    assert np.array_equal(found, distances.features(plain))
    grey = distances.features(plain[..., :1])
    np.testing.assert_allclose(grey, distances.features(np.repeat(plain[..., :1], 3, axis=3)), atol=1e-5)
