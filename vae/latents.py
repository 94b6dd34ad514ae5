import torch
def sample_normal(count, latent, seed, temperature=1.0):
    return torch.randn(count, latent, generator=torch.Generator().manual_seed(seed)) * temperature
