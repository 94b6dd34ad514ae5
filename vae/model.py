"""The variational autoencoder (Kingma and Welling 2014): a picture to a few numbers and back.

One latent vector per picture, so that each number changes the whole picture. A space-to-depth stem and a sub-pixel head
(Shi et al. 2016) let all convolutions work on a small grid, which is what makes a CPU fast enough. GroupNorm keeps no
statistics, so training and shipping draw the same pictures.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.errors import BadInput, check_fields, chosen, limited, several

GROUPS = 8
STYLE = 128  # numbers that z says to every norm of the decoder
LOGVAR = (-12, 6)  # a std from 0.0025 to 20: no overflow in exp, ever
LOUDER = 4
CONFIG, WEIGHTS = "config.json", "model.safetensors"
BATCH = 250  # pictures through a model at once, where there is no gradient


@dataclass(frozen=True)
class VAEConfig:
    """The shape of a VAE. Every value is checked; BadInput names the one that is wrong.

    size: the picture's side in pixels, 8 to 256. channels: 1 or 3. latent: how many numbers, 1 to 512.
    widths: channels of each stage, finest first, multiples of 8; each stage after the first halves the grid.
    stem: the side of the pixel block that becomes one cell of the first grid, 1, 2, 4 or 8.
    likelihood: "gaussian" (one sigma shared by all pixels) or "bernoulli" (each value a coin: no density for grey values).
    sigma_floor: the smallest sigma of a gaussian, 0.001 to 1, where pixels are in [0, 1].
    adaptive_norm: whether the decoder's norms take their gain and bias from z (Decoder), or have weights of their own.
    looks: how often the encoder looks again, at its own reconstruction beside the picture (VAE.encode), 0 to 3.
    """

    size: int = limited(64, 8, 256)
    channels: int = chosen(3, 1, 3)
    latent: int = limited(64, 1, 512)
    widths: tuple[int, ...] = several((64, 128, 256), 6, 8, 1024, step=GROUPS)
    stem: int = chosen(4, 1, 2, 4, 8)
    likelihood: str = chosen("gaussian", "gaussian", "bernoulli")
    sigma_floor: float = limited(0.05, 0.001, 1)
    adaptive_norm: bool = chosen(True, False, True)
    looks: int = limited(0, 0, 3)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def grid(self) -> int:
        """The side of the coarsest grid; the picture is padded up to a whole number of its cells."""
        return -(-self.size // self.cell)

    @property
    def cell(self) -> int:
        """The side in pixels of a cell of the coarsest grid."""
        return self.stem * 2 ** (len(self.widths) - 1)

    @classmethod
    def from_dict(cls, values: dict) -> "VAEConfig":
        """From what config.json holds: every field and no other, but for those that older models had not."""
        values = {"adaptive_norm": False, "looks": 0, **values} if isinstance(values, dict) else {repr(values): None}
        strange = set(values) ^ {field.name for field in dataclasses.fields(cls)}
        if strange:
            raise BadInput(f"The model's {CONFIG} has missing or unknown entries: {', '.join(sorted(strange))}.")
        return cls(**values)

    def check(self, pictures: np.ndarray) -> None:
        """BadInput unless the pictures are uint8 (N, size, size, channels)."""
        if (
            pictures.dtype != np.uint8
            or pictures.ndim != 4
            or pictures.shape[1:] != (self.size, self.size, self.channels)
        ):
            wanted = f"uint8 (N, {self.size}, {self.size}, {self.channels})"
            raise BadInput(f"Pictures are {pictures.dtype} {pictures.shape}; the model wants {wanted}.")


@dataclass(frozen=True)
class Posterior:
    """q(z|x), a Gaussian with a variance of its own for each number; mean and logvar are (N, D)."""

    mean: Tensor
    logvar: Tensor

    def mode(self) -> Tensor:
        """(N, D): the likeliest latent."""
        return self.mean

    def std(self) -> Tensor:
        """(N, D): the standard deviation of each number."""
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator) -> Tensor:
        """(N, D): one draw for each picture; the generator lives on the CPU."""
        return self.at(torch.randn(self.mean.shape, generator=generator).to(self.mean.device))

    def at(self, noise: Tensor) -> Tensor:
        """(N, D) of N(0, 1) -> (N, D): the draws that this noise stands for, differentiable in mean and logvar."""
        return self.mean + noise * self.std()

    def kl(self) -> Tensor:
        """(N, D): KL(q || N(0, 1)) of each unit in nats (Kingma and Welling 2014, appendix B)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)


class Norm(nn.GroupNorm):
    """(N, C, H, W) -> the same, normalised by groups of channels, then scaled and shifted: by the style (N, STYLE) if adaptive.

    Adaptive group norm (Dhariwal and Nichol 2021): x * (1 + gain) + bias, both linear in the style, as in StyleGAN (Karras et
    al. 2019). So colours, tilt and kind reach every stage at once, and the grid is free for shape.
    """

    def __init__(self, width: int, is_adaptive: bool):
        super().__init__(GROUPS, width, affine=not is_adaptive)
        self.modulation = None
        if is_adaptive:
            self.modulation = nn.Linear(STYLE, 2 * width)
            with torch.no_grad():
                self.modulation.weight.mul_(0.5)
                self.modulation.bias.zero_()

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        x = super().forward(x)
        if self.modulation is None:
            return x
        gain, bias = self.modulation(style)[:, :, None, None].chunk(2, dim=1)  # 2 x (N, C, 1, 1)
        return x * (1 + gain) + bias


class Residual(nn.Module):
    """A residual convolution: x + conv(silu(norm(x))); shape unchanged."""

    def __init__(self, width: int, is_adaptive: bool):
        super().__init__()
        self.norm = Norm(width, is_adaptive)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        return x + self.conv(F.silu(self.norm(x, style)))


class Encoder(nn.Module):
    """(N, inputs, S, S), by default C inputs in [0, 1], S a whole number of cells -> Posterior over (N, D)."""

    def __init__(self, config: VAEConfig, inputs: int = 0):
        super().__init__()
        first, *rest = config.widths
        inputs = inputs or config.channels
        layers = [nn.PixelUnshuffle(config.stem), nn.Conv2d(inputs * config.stem**2, first, 3, padding=1)]
        for before, width in zip(config.widths, rest, strict=False):
            layers += [Norm(before, False), nn.SiLU(), nn.Conv2d(before, width, 3, stride=2, padding=1)]
        self.features = nn.Sequential(*layers, Norm(config.widths[-1], False), nn.SiLU(), nn.Flatten())
        self.head = nn.Linear(config.widths[-1] * config.grid**2, 2 * config.latent)

    def forward(self, x: Tensor) -> Posterior:
        mean, logvar = self.head(self.features(x)).float().chunk(2, dim=1)  # 2 x (N, D)
        return Posterior(mean, logvar.clamp(*LOGVAR))


class Decoder(nn.Module):
    """(N, D) -> (N, C, S, S): what a sigmoid turns into pixel values, S a whole number of cells."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        widths, is_adaptive = config.widths[::-1], config.adaptive_norm
        self.style = None
        if is_adaptive:
            self.style = nn.Sequential(nn.Linear(config.latent, STYLE), nn.SiLU(), nn.Linear(STYLE, STYLE), nn.SiLU())
        layers: list[nn.Module] = [
            nn.Linear(config.latent, widths[0] * config.grid**2),
            nn.Unflatten(1, (widths[0], config.grid, config.grid)),
            Residual(widths[0], is_adaptive),
        ]
        for before, width in zip(widths, widths[1:], strict=False):
            # Shuffling first and convolving after costs a quarter of convolving to four times the channels.
            layers += [Norm(before, is_adaptive), nn.SiLU(), nn.PixelShuffle(2)]
            layers += [nn.Conv2d(before // 4, width, 3, padding=1), Residual(width, is_adaptive)]
        last = nn.Conv2d(widths[-1], config.channels * config.stem**2, 3, padding=1)
        layers += [Norm(widths[-1], is_adaptive), nn.SiLU(), last, nn.PixelShuffle(config.stem)]
        self.layers = nn.ModuleList(layers)

    def forward(self, z: Tensor) -> Tensor:
        style = None if self.style is None else self.style(z)  # (N, STYLE)
        x = z
        for layer in self.layers:
            x = layer(x, style) if isinstance(layer, (Norm, Residual)) else layer(x)
        return x


class VAE(nn.Module):
    """An encoder, a decoder and the noise level between a decoded picture and a real one.

    encoder and decoder: networks of one's own, in place of Encoder and Decoder and with their contracts. Weights travel in
    safetensors as fp16 and compute as fp32; no pickle is ever opened.
    """

    sigma: Tensor

    def __init__(self, config: VAEConfig, encoder: nn.Module | None = None, decoder: nn.Module | None = None):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config) if encoder is None else encoder
        self.decoder = Decoder(config) if decoder is None else decoder
        self.look = None
        if config.looks:
            self.look = Encoder(config, 3 * config.channels)
            nn.init.zeros_(self.look.head.weight)  # it corrects nothing at first
            nn.init.zeros_(self.look.head.bias)
        # Of a gaussian likelihood: estimated on the training pictures, stored with the weights, never under the floor.
        self.register_buffer("sigma", torch.tensor(max(0.5, config.sigma_floor)))

    @property
    def device(self) -> torch.device:
        return self.sigma.device

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Posterior]:
        """(N, C, H, W) in [0, 1] -> logits (N, C, H, W) and the Posterior: all that losses.negative_elbo wants.

        The latent is drawn with the generator or from noise (N, D) of N(0, 1); with neither it is the posterior's mode.
        """
        posterior = self.encode(x)
        if noise is not None:
            return self.decode_logits(posterior.at(noise)), posterior
        z = posterior.mode() if generator is None else posterior.sample(generator)
        return self.decode_logits(z), posterior

    def encode(self, x: Tensor) -> Posterior:
        """(N, C, H, W) in [0, 1] -> Posterior over latents (N, D).

        One pass answers worse than the decoder can draw. So each of config.looks sees the picture, what the decoder makes of
        the answer so far, and LOUDER times the difference, and corrects that answer (Alaluf et al. 2021, "ReStyle").
        """
        posterior = self.encoder(self._padded(x))
        if self.look is None:
            return posterior
        for _ in range(self.config.looks):
            with torch.no_grad():
                again = self.decode(posterior.mode())
            change = self.look(self._padded(torch.cat([x, again, LOUDER * (x - again)], dim=1)))
            posterior = Posterior(posterior.mean + change.mean, (posterior.logvar + change.logvar).clamp(*LOGVAR))
        return posterior

    def _padded(self, x: Tensor) -> Tensor:
        spare = self.config.grid * self.config.cell - self.config.size
        before = spare // 2
        return F.pad(x, (before, spare - before, before, spare - before)) if spare else x

    def decode_logits(self, z: Tensor) -> Tensor:
        """(N, D) -> (N, C, H, W): decode before its sigmoid, for losses that want it."""
        size = self.config.size
        before = (self.config.grid * self.config.cell - size) // 2
        return self.decoder(z)[:, :, before : before + size, before : before + size]

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) -> (N, C, H, W) in [0, 1]: the mean picture of p(x|z)."""
        return torch.sigmoid(self.decode_logits(z).float())

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json and model.safetensors into the folder, which is made where there is none."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().half().contiguous().cpu() for name, tensor in self.state_dict().items()}
        safetensors.torch.save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
        text = json.dumps(dataclasses.asdict(self.config), indent=2, sort_keys=True)
        (folder / CONFIG).write_text(text, encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        **hub: str | None,
    ) -> "VAE":
        """From a folder, or a hub id with hub.folder_of's revision and token; in eval mode on the CPU.

        encoder, decoder: as in VAE, where it was saved with networks of one's own. BadInput where a file is missing or damaged,
        a config has missing or unknown entries, or weights do not match it to the letter: seen before any memory is taken.
        """
        from vae.storage.files import read_text
        from vae.storage.hub import folder_of
        from vae.storage.tensors import read_weights

        try:
            folder, _ = folder_of(source, (CONFIG, WEIGHTS), **hub)
            config = VAEConfig.from_dict(json.loads(read_text(folder / CONFIG)))
            with torch.device("meta"):
                model = cls(config, encoder, decoder)
            model.load_state_dict(read_weights(folder / WEIGHTS, model), assign=True)
        except (ValueError, RecursionError) as error:  # BadInput, broken JSON, brackets in brackets
            raise BadInput(f"{str(source)[-60:]} is no whole model: {error}") from error
        return model.eval()


def posterior_of(model: VAE, pictures: np.ndarray) -> Posterior:
    """uint8 (N, H, W, C) -> their posteriors, float32 on the CPU. BadInput for pictures of another form."""
    model.config.check(pictures)
    empty = torch.empty(0, model.config.latent)
    with torch.inference_mode():
        found = [model.encode(to_tensor(part, model.device)) for part in _batches(pictures)]
    mean, logvar = (torch.cat([empty, *(getattr(one, name).cpu() for one in found)]) for name in ("mean", "logvar"))
    return Posterior(mean, logvar)


def decoded(model: VAE, z: Tensor) -> np.ndarray:
    """(N, D), wherever it lies -> uint8 (N, H, W, C)."""
    empty = np.empty((0, model.config.size, model.config.size, model.config.channels), np.uint8)
    with torch.inference_mode():
        return np.concatenate([empty, *(to_pictures(model.decode(part.to(model.device))) for part in _batches(z))])


def _batches(rows):
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def to_tensor(pictures: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (N, H, W, C) -> float32 (N, C, H, W) in [0, 1] on the device, in channels_last order. BadInput for other types."""
    if pictures.ndim != 4 or pictures.dtype not in (np.uint8, torch.uint8):  # floats would be divided twice
        raise BadInput(f"Pictures are uint8 (N, H, W, C), 0 to 255, not {pictures.dtype} {tuple(pictures.shape)}.")
    return torch.as_tensor(pictures).to(device).permute(0, 3, 1, 2).float().div_(255)


def to_pictures(x: Tensor) -> np.ndarray:
    """(N, C, H, W) in [0, 1] -> uint8 (N, H, W, C), rounded to the nearest of 256 steps."""
    return x.detach().mul(255).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
