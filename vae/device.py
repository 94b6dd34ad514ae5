"""Where the arithmetic runs and how precisely; and where randomness comes from."""

import numbers
import os

import torch

from vae.errors import BadInput

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def pick(name: str | None = None) -> torch.device:
    """The device called name ("cpu", "cuda", "cuda:1", "mps"); without a name $VAE_DEVICE, else CUDA, then MPS, then the CPU.

    Raises BadInput for a name that torch does not know or a device that this machine lacks.
    """
    name = name or os.environ.get("VAE_DEVICE")
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(f"The device {name!r} is not to be had here; cpu always works.") from error
    return device


def precision(name: str | None = None) -> torch.dtype:
    """The type that training computes in: "fp32", the default, or "bf16".

    On an H100 a step of a VAE took as long in both (convolutions run in TF32 there by themselves), one with critic and teacher
    14 % less in bf16; on a CPU without AMX bf16 was 2 to 5 times slower.
    """
    name = name or "fp32"
    if name not in PRECISIONS:
        raise BadInput(f"The precision {name!r} is unknown; choose one of {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]


def noise_generator(seed: int) -> torch.Generator:
    """A generator on the CPU, so that one seed gives the same noise on every device. Seeds are 0 to 2**63 - 1."""
    if isinstance(seed, bool) or not (isinstance(seed, numbers.Integral) and 0 <= seed < 2**63):
        raise BadInput(f"The seed {seed!r:.40} is no whole number from 0 to 2**63 - 1.")
    return torch.Generator().manual_seed(int(seed))


def noise_of(seed: int, step: int) -> torch.Generator:
    """The generator of one step of a run (0 and up), or of one epoch's order (-1 and down)."""
    return noise_generator((seed * 1_000_000_007 + 2 * abs(step) + (step < 0)) % 2**63)
