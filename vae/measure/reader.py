"""What can be seen in a picture: a compact convolutional network that learns a set's columns from its training pictures.

It judges what knobs draw, and is saved nowhere: what it finds goes into the atlas.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.device import noise_generator
from vae.model import to_tensor

SIDE = 64  # pixels, at most, that a reader looks at: more take longer and tell no more
WIDTHS = (32, 64, 96, 128)
BATCH, EPOCHS, STEPS = 128, 8, 400  # STEPS: at least, of a small set
LEARNING_RATE = 4e-3
SHIFT = 1 / 16  # of a side, by which pictures are moved while it learns


class Reader(nn.Module):
    """(N, C, H, W) in [0, 1] -> (N, A): logits of columns of 0 and 1, standardised values of numbers."""

    def __init__(self, channels: int, columns: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((channels, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
        del layers[3:6]  # on the finest grid one is enough
        self.net = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * WIDTHS[-1], columns)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(small(x))

    def read(self, pictures: np.ndarray) -> Tensor:
        """uint8 (N, H, W, C) -> (N, A), without gradients, on the CPU."""
        device = next(self.parameters()).device
        parts = [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]
        with torch.no_grad():
            return torch.cat([self(to_tensor(part, device)).cpu() for part in parts])


def small(x: Tensor) -> Tensor:
    """(N, C, H, W) -> the same pictures with a side of at most SIDE pixels."""
    return F.interpolate(x, size=(SIDE, SIDE), mode="area") if x.shape[-1] > SIDE else x


def fit_reader(pictures: np.ndarray, table: np.ndarray, seed: int = 0, device: torch.device | str = "cpu") -> Reader:
    """uint8 (N, H, W, C), columns (N, A) of 0 and 1 or standardised numbers, NaN where there is a gap -> in eval mode.

    Pictures are shifted, and half of them blurred: it is to answer what is in a picture, not whether it is as crisp as the
    training set. The seed alone decides what it learns, on one machine and number of threads.
    """
    generator = noise_generator(seed)
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # dropout has no generator of its own
        torch.manual_seed(seed)
        reader = Reader(pictures.shape[3], table.shape[1]).to(device)
        parts = np.array_split(pictures, -(-len(pictures) // 1000))
        x = torch.cat([small(to_tensor(part)).mul(255).byte() for part in parts])
        truth = torch.from_numpy(table).float()
        is_binary = torch.from_numpy((np.isin(table, (0, 1)) | np.isnan(table)).all(axis=0)).to(device)
        steps = max(STEPS, EPOCHS * (len(x) // BATCH))
        optimizer = torch.optim.AdamW(reader.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.2)
        reader.train().to(memory_format=torch.channels_last)
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            while len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(x), generator=generator)])
            rows, order = order[:BATCH], order[BATCH:]
            out = reader(_jittered(x[rows].to(device).float() / 255, generator))
            loss = _loss(out, truth[rows].to(device), is_binary)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return reader.eval().requires_grad_(False)


def _jittered(x: Tensor, generator: torch.Generator) -> Tensor:
    """(N, C, S, S) -> all of them shifted by the same few pixels, and the second half of them blurred."""
    most = round(x.shape[-1] * SHIFT)
    down, right = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    side = x.shape[-1]
    x = F.pad(x, (most,) * 4, mode="replicate")[:, :, down : down + side, right : right + side]
    half = len(x) // 2
    return torch.cat([x[:half], F.avg_pool2d(x[half:], 3, 1, 1, count_include_pad=False)])


def _loss(out: Tensor, truth: Tensor, is_binary: Tensor) -> Tensor:
    """Nats of the columns of 0 and 1, squared errors of the numbers: summed over columns; gaps count for nothing."""
    known = truth.nan_to_num()
    each = torch.where(
        is_binary,
        F.binary_cross_entropy_with_logits(out, known.clamp(0, 1), reduction="none"),
        (out - known).square(),
    )
    return (each * ~truth.isnan()).sum(dim=1).mean()
