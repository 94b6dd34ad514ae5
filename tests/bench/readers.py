"""Classifiers that read pictures: what the marks are made of. They belong to the benchmark, never to the product.

Trained on real training pictures only, once, and kept in a cache outside the repository. Pictures come in as
uint8 (N, H, W, C), as everywhere outside the model. Slight shifts, turns and blur while training make a reader answer
"what is in the picture", not "is this picture as crisp as the training set".
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision import datasets
from torchvision.transforms.v2 import functional as tv
from tqdm import tqdm

from vae.data import Pictures

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "latent-playground" / "readers"
SIDE = 64  # pixels of a photographed face that a reader looks at

HAIR_COLOURS = ("black", "brown", "auburn", "red", "blond", "silver", "pink")
# head -> what it tells apart. Sunglasses are their own answer: the set's column `glasses` is 0 for them.
AVATAR_HEADS = {
    "glasses": ("none", "glasses", "sunglasses"),
    "beard": ("no", "yes"),
    "hat": ("no", "yes"),
    "hair_color": HAIR_COLOURS,
    "eyes": ("closed", "happy", "open", "wide", "wink"),
    "mouth": ("frown", "gasp", "grin", "laugh", "smile", "straight"),
    "eyebrows": ("angry", "heavy", "level", "raised", "worried"),
}
WORDS = {head: AVATAR_HEADS[head] for head in ("hair_color", "eyes", "mouth", "eyebrows")}
UNKNOWN = -1  # hair colour where no hair shows, eyes behind sunglasses


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class DigitReader(nn.Module):
    """(N, 1, 28, 28) in [0, 1] -> logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.PixelUnshuffle(2),  # (N, 4, 14, 14)
            block(4, 32),
            block(32, 48),
            nn.MaxPool2d(2),  # (N, 48, 7, 7)
            block(48, 96),
            block(96, 96),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(96 * 49, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class AvatarReader(nn.Module):
    """(N, 3, 128, 128) in [0, 1] -> logits of AVATAR_HEADS' answers, side by side (N, 30).

    Neighbouring hair colours differ by a shade, so the reader also looks straight at the colours of a few places that it
    chooses: attention over 32 x 32 cells of 4 x 4 pixels.
    """

    def __init__(self, looks: int = 6) -> None:
        super().__init__()
        self.cells = nn.PixelUnshuffle(4)  # (N, 48, 32, 32)
        self.near = nn.Sequential(nn.PixelUnshuffle(2), block(12, 32), block(32, 64, 2))  # (N, 64, 32, 32)
        self.far = nn.Sequential(block(64, 96, 2), block(96, 96), block(96, 128, 2))  # (N, 128, 8, 8)
        self.where = nn.Conv2d(64, looks, 1)
        self.whole = nn.Sequential(
            block(128, 64), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 64, 256), nn.ReLU(inplace=True)
        )
        self.answers = nn.Sequential(
            nn.Linear(256 + looks * 48, 256),
            nn.ReLU(inplace=True),
            nn.Linear(256, sum(map(len, AVATAR_HEADS.values()))),
        )

    def forward(self, x: Tensor) -> Tensor:
        near = self.near(x)
        where = self.where(near).flatten(2).softmax(2)
        seen = torch.einsum("nlp,ncp->nlc", where, self.cells(x).flatten(2)).flatten(1)  # (N, looks * 48)
        return self.answers(torch.cat([self.whole(self.far(near)), seen], 1))


def avatar_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(N, 30), (N, heads) -> the sum over heads of the mean cross-entropy where the label is known."""
    parts = logits.split([len(v) for v in AVATAR_HEADS.values()], dim=1)
    return sum(F.cross_entropy(p, labels[:, i], ignore_index=UNKNOWN) for i, p in enumerate(parts))


def digits(root: Path, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """-> MNIST's pictures uint8 (N, 28, 28, 1) and labels (N,), straight from torchvision's layout."""
    data = datasets.MNIST(str(root), train=train, download=False)
    return data.data.numpy()[..., None], data.targets.numpy()


def avatar_labels(attributes: dict[str, np.ndarray]) -> np.ndarray:
    """The set's columns (N,) -> (N, heads): which answer of each of AVATAR_HEADS is right, or UNKNOWN."""
    found = {head: np.array([answers.index(word) for word in attributes[head]]) for head, answers in WORDS.items()}
    found |= {head: attributes[head].astype(int) for head in ("beard", "hat")}
    found["glasses"] = np.where(attributes["sunglasses"] == 1, 2, attributes["glasses"]).astype(int)
    found["hair_color"][attributes["hair_visible"] != 1] = UNKNOWN
    found["eyes"][attributes["sunglasses"] == 1] = UNKNOWN
    return np.stack([found[head] for head in AVATAR_HEADS], axis=1)


def jitter(x: Tensor, generator: torch.Generator, turn: float, shift: float, flip: bool) -> Tensor:
    """(N, C, H, W) -> the same pictures, each turned up to `turn` degrees, shifted and scaled a little; half of them blurred."""
    n = len(x)
    angle, scale, dx, dy = (torch.rand(4, n, generator=generator) * 2 - 1) * torch.tensor(
        [[np.deg2rad(turn)], [0.08], [shift], [shift]], dtype=torch.float32
    )
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    cos, sin = torch.cos(angle) * (1 + scale), torch.sin(angle) * (1 + scale)
    theta = torch.stack([torch.stack([cos * mirror, -sin, dx], 1), torch.stack([sin * mirror, cos, dy], 1)], 1)
    x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), False), padding_mode="border", align_corners=False)
    sharp = (torch.rand(n, generator=generator) < 0.5).view(n, 1, 1, 1)
    return torch.where(sharp, x, tv.gaussian_blur(x, [5, 5], [0.8, 0.8]))


def fit(
    net: nn.Module,
    pictures: np.ndarray,
    labels: np.ndarray,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    name: str,
    epochs: int,
    turn: float,
    shift: float,
    flip: bool,
    batch: int = 128,
    rate: float = 4e-3,
) -> nn.Module:
    """Trains the reader: AdamW, one cycle of the rate, the same every time on one machine and thread count."""
    generator = torch.Generator().manual_seed(0)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()  # (N, C, H, W) uint8
    y = torch.from_numpy(labels)
    steps = epochs * (len(x) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2)
    net.train().to(memory_format=torch.channels_last)
    began = time.perf_counter()
    bar = tqdm(total=steps, desc=f"training the reader of {name}", unit="step", mininterval=5)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for chosen in order[: len(x) // batch * batch].split(batch):
            seen = jitter(x[chosen].float() / 255, generator, turn, shift, flip)
            value = loss(net(seen.contiguous(memory_format=torch.channels_last)), y[chosen])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            bar.update()
    bar.close()
    print(f"reader of {name}: {epochs} epochs, {steps} steps, {time.perf_counter() - began:.0f} s")
    return net.eval()


def cached(name: str, make: Callable[[], nn.Module], train: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """-> the reader with the weights of an earlier run, or trained now and kept (written beside, then renamed)."""
    path = CACHE / f"{name}.safetensors"
    torch.manual_seed(0)
    net = make()
    if path.exists():
        net.load_state_dict(load_file(path))
        return net.eval()
    net = train(net)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    return net


def digit_reader(root: Path) -> nn.Module:
    def train(net: nn.Module) -> nn.Module:
        return fit(
            net,
            *digits(root, True),
            F.cross_entropy,
            name="digits",
            epochs=8,
            turn=10,
            shift=0.12,
            flip=False,
        )

    return cached("digits", DigitReader, train)


def avatar_reader(name: str, learnt: Pictures) -> nn.Module:
    """The reader of drawn faces of 128 pixels, trained on what a model learnt from; kept under the name."""

    def train(net: nn.Module) -> nn.Module:
        labels = avatar_labels(learnt.attributes or {})
        return fit(net, learnt.images, labels, avatar_losses, name=name, epochs=10, turn=4, shift=0.04, flip=True)

    return cached(name, AvatarReader, train)


class AttributeReader(nn.Module):
    """(N, 3, 64, 64) in [0, 1] -> (N, attributes): logits of columns of 0 and 1, standardised values of numbers."""

    def __init__(self, attributes: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.PixelUnshuffle(2),  # (N, 12, 32, 32)
            block(12, 48, 2),
            block(48, 64),
            block(64, 96, 2),
            block(96, 96),
            block(96, 128, 2),  # (N, 128, 4, 4)
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(128 * 16, attributes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def attribute_reader(name: str, pictures: np.ndarray, columns: dict[str, np.ndarray]) -> nn.Module:
    """The reader of a set's attributes, columns of 0 and 1 or standardised numbers, trained on its training pictures."""
    table = np.stack(list(columns.values()), axis=1).astype(np.float32)  # (N, A)
    is_binary = torch.from_numpy(np.isin(table, (0, 1)).all(axis=0))

    def loss(out: Tensor, truth: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(out, truth.clamp(0, 1), reduction="none")
        return torch.where(is_binary, each, (out - truth).square()).sum(dim=1).mean()

    def train(net: nn.Module) -> nn.Module:
        return fit(net, pictures, table, loss, name=name, epochs=10, turn=4, shift=0.04, flip=False)

    return cached(f"{name}-attributes", lambda: AttributeReader(table.shape[1]), train)


def small(pictures: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) -> (N, SIDE, SIDE, 3)."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    x = F.interpolate(x, size=(SIDE, SIDE), mode="area")
    return x.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


@torch.inference_mode()
def logits(net: nn.Module, pictures: np.ndarray, batch: int = 500) -> Tensor:
    """uint8 (N, H, W, C) -> (N, outputs)."""
    parts = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(batch)
    return torch.cat([net((p.float() / 255).contiguous(memory_format=torch.channels_last)) for p in parts])


def read_digits(pictures: np.ndarray, root: Path) -> np.ndarray:
    """uint8 (N, 28, 28, 1) -> probabilities (N, 10)."""
    return logits(digit_reader(root), pictures).softmax(1).numpy()


def read_avatars(reader: nn.Module, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """uint8 (N, 128, 128, 3) -> for each of AVATAR_HEADS probabilities (N, answers)."""
    out = logits(reader, pictures).split([len(v) for v in AVATAR_HEADS.values()], dim=1)
    return {head: part.softmax(1).numpy() for head, part in zip(AVATAR_HEADS, out, strict=True)}


def balanced_accuracy(labels: np.ndarray, answers: np.ndarray) -> float:
    """(N,), (N,) -> the mean over labels of the share read rightly; unknown labels are left out."""
    return float(np.mean([(answers[labels == k] == k).mean() for k in np.unique(labels[labels != UNKNOWN])]))
