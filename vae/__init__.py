"""Variational autoencoders with one compact latent per picture: train, sample, morph, measure.

Conventions, the same in every file: a picture outside the model is uint8, (H, W, C) or (N, H, W, C), with one or three
channels; inside it is float32, (N, C, H, W), in [0, 1]; a latent is (N, D). Losses are nats per picture, summed over
pixels and channels. Randomness comes from a seed or a generator on the CPU, never from global state.
"""

__version__ = "0.2.0"
