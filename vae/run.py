"""One step of learning: what changes while a model learns, and how a batch of pictures changes it.

All chance of a step comes from its number and the recipe's seed and goes in as tensors; what is left is arithmetic that can
be recorded on a GPU and replayed.
"""

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vae import device as devices
from vae import files
from vae.errors import BadInput
from vae.losses import negative_elbo
from vae.model import VAE, to_tensor
from vae.priors import Mixture
from vae.recipe import TrainConfig

SHIFT = 4  # pixels that pictures are rolled by before the critic looks, at most


class Run:
    """All that changes while a model learns, and how it is put down and taken up again."""

    def __init__(self, config: TrainConfig, device: torch.device):
        from vae.sharpen.critic import Critic, Jury

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = VAE(config.model)
            critic = Critic(config.model.channels, config.critic_widths) if config.sharpen else None
            jury = Jury() if config.sharpen and config.pull_jury else None
        self.model = model.to(device).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.parameters: list[Tensor] = list(self.model.parameters())
        self.averaged: list[Tensor] = list(self.average.parameters())
        self.optimizer = _adam(self.parameters, config.rate, (0.9, 0.99), config.weight_decay)
        self.critic = None if critic is None else critic.to(device).to(memory_format=torch.channels_last).train()
        self.jury = None if jury is None else jury.to(device).to(memory_format=torch.channels_last).train()
        self.critic_parameters: list[Tensor] = [
            parameter for part in (self.critic, self.jury) if part is not None for parameter in part.parameters()
        ]
        # Little momentum: the decoder it judges is another one with every step.
        self.critic_optimizer = (
            None if critic is None else _adam(self.critic_parameters, config.sharpen_rate, (0.5, 0.99), 0.0)
        )
        self.step = 0
        self.seconds = 0.0
        self.rate_scale = 1.0
        self.rollbacks = 0
        self.history: list[list[float]] = []

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"average.{name}": t for name, t in self.average.state_dict().items()}
        for i, parameter in enumerate(self.parameters):
            tensors |= {f"adam.{i}.{name}": t for name, t in self.optimizer.state[parameter].items()}
        if self.critic is not None and self.critic_optimizer is not None:
            tensors |= {f"critic.{name}": t for name, t in self.critic.state_dict().items()}
            if self.jury is not None:
                tensors |= {f"jury.{name}": t for name, t in self.jury.state_dict().items()}
            for i, parameter in enumerate(self.critic_parameters):
                tensors |= {f"critic_adam.{i}.{name}": t for name, t in self.critic_optimizer.state[parameter].items()}
        return tensors

    def capture(self) -> tuple[dict[str, Tensor], dict]:
        tensors = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        return tensors, {"step": self.step, "history": list(self.history)}

    def restore(self, state: tuple[dict[str, Tensor], dict]) -> None:
        tensors, numbers = state
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(tensors[name])
        self.step, self.history = numbers["step"], list(numbers["history"])

    def save(self, path: Path, config: TrainConfig, count: int) -> None:
        tensors, numbers = self.capture()
        numbers |= {"seconds": self.seconds, "rate_scale": self.rate_scale, "rollbacks": self.rollbacks}
        meta = {"numbers": json.dumps(numbers), "recipe": _essence(config), "count": str(count)}
        data = safetensors.torch.save({name: t.contiguous().cpu() for name, t in tensors.items()}, meta)
        with files.written_whole(path) as file:
            file.write(data)

    def load(self, path: Path, config: TrainConfig, count: int) -> None:
        try:
            with safe_open(path, "pt") as file:
                meta = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            numbers = json.loads(meta["numbers"])
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise BadInput(f"The run state {path} cannot be read; start again without resuming.") from error
        if meta["recipe"] != _essence(config) or meta["count"] != str(count):
            raise BadInput(f"The run state {path} belongs to another recipe or other pictures; give it the same ones.")
        self.restore((tensors, numbers))
        self.seconds, self.rate_scale = numbers["seconds"], numbers["rate_scale"]
        self.rollbacks = numbers["rollbacks"]


def _adam(parameters: list, rate: float, betas: tuple[float, float], weight_decay: float) -> torch.optim.AdamW:
    """An AdamW whose state is there from the start, so that it can be restored before its first step."""
    device = parameters[0].device
    if device.type in ("cpu", "cuda"):
        # The rate is a tensor, so that a recorded step reads what it is by then.
        options: dict = {"lr": torch.tensor(rate, device=device), "fused": True, "capturable": device.type == "cuda"}
    else:
        options = {"lr": rate}
    optimizer = torch.optim.AdamW(parameters, betas=betas, weight_decay=weight_decay, **options)
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=device if device.type == "cuda" else "cpu"),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimizer


def _essence(config: TrainConfig) -> str:
    """The part of a recipe that the weights hang on: what only the card and the atlas use may change while a run rests."""
    return dataclasses.replace(config, card={}, categories={}, show_data=True, start="").to_toml()


def noise_of(seed: int, step: int) -> torch.Generator:
    """The generator of one step (0 and up) or of one epoch's order (-1 and down)."""
    return devices.noise_generator((seed * 1_000_000_007 + 2 * abs(step) + (step < 0)) % 2**63)


class Recorded:
    """A step as a CUDA graph: recorded once, then replayed with other inputs.

    The GPU would wait for a CPU that launches a thousand small kernels one by one (NOTES.md has what it brought).
    """

    def __init__(self, run: Run, step: Callable[[dict[str, Tensor]], Tensor], inputs: dict[str, Tensor]):
        self.inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        self.graph = torch.cuda.CUDAGraph()
        state = run.capture()
        with torch.cuda.device(inputs["rows"].device):
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):  # libraries choose algorithms and take memory before anything is recorded
                    step(self.inputs)
            torch.cuda.current_stream().wait_stream(aside)
            # Its own stream, as the default one belongs to whichever device recorded first; other threads may use the GPU.
            with torch.cuda.graph(self.graph, stream=aside, capture_error_mode="thread_local"):
                self.result = step(self.inputs)
        run.restore(state)

    def __call__(self, inputs: dict[str, Tensor]) -> Tensor:
        for name, tensor in inputs.items():
            self.inputs[name].copy_(tensor, non_blocking=True)
        self.graph.replay()
        return self.result  # overwritten by the next call


def inputs_of(
    config: TrainConfig, step: int, batch: int, rate: float, beta: float, prior: Mixture | None = None
) -> dict[str, Tensor]:
    """What changes from step to step beside the pictures, chance included, as CPU tensors.

    mirrored (B,), noise (B, D), the scalars rate, beta and decay; for sharpen angle (Q, 1), blend (2 Q, B) and shift (2,),
    where Q is a quarter of B, or 0 for a recipe without a critic; with a prior also dreams (2 Q, D).
    """
    generator, quarter = noise_of(config.seed, step), batch // 4 if config.sharpen else 0
    decay = min(config.ema, (1 + step) / (10 + step))  # young averages follow closely
    return {
        "mirrored": torch.rand(batch, generator=generator) < 0.5,
        "noise": torch.randn(batch, config.model.latent, generator=generator),
        "angle": torch.rand(quarter, 1, generator=generator) * math.pi / 2,
        "blend": F.normalize(torch.randn(2 * quarter, batch, generator=generator)),
        "shift": torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator),
        **{name: torch.tensor(value) for name, value in {"rate": rate, "beta": beta, "decay": decay}.items()},
        **({} if prior is None else {"dreams": prior.sample(2 * quarter, _seed_from(generator))}),
    }


def _seed_from(generator: torch.Generator) -> int:
    """A seed of its own: the generator's would start its numbers again, and dreams would wear the posterior's noise."""
    return int(torch.randint(2**62, (), generator=generator))


def learn(run: Run, config: TrainConfig, dtype: torch.dtype, inputs: dict[str, Tensor]) -> Tensor:
    """One update from rows (B, H, W, C) uint8 and inputs_of -> [loss, reconstruction, kl, gradient norm, 0, kl of each unit]."""
    from vae.sharpen import teacher

    x = batch_of(config, inputs)
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        posterior = run.model.encode(x)
        logits = run.model.decode_logits(posterior.at(inputs["noise"]))
    terms = negative_elbo(
        logits.float(), x, posterior, likelihood=config.model.likelihood, sigma_floor=config.model.sigma_floor,
        beta=inputs["beta"], free_bits=config.free_bits,
    )  # fmt: skip
    loss = terms.loss
    if config.perceptual:
        loss = loss + config.perceptual * x[0].numel() * teacher.lesson(torch.sigmoid(logits.float()), x)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(run.parameters, config.clip)
    set_rate(run.optimizer, inputs["rate"])
    run.optimizer.step()
    follow(run, inputs["decay"], terms.sigma)
    zero = torch.zeros_like(norm)
    return torch.cat([torch.stack([terms.loss, terms.reconstruction, terms.kl, norm, zero]), terms.unit_kl]).detach()


def set_rate(optimizer: torch.optim.Optimizer, rate: Tensor) -> None:
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].copy_(rate)
    else:
        group["lr"] = float(rate)


def batch_of(config: TrainConfig, inputs: dict[str, Tensor]) -> Tensor:
    """rows (B, H, W, C) uint8 -> (B, C, H, W) in [0, 1], half of them mirrored where the recipe says so."""
    x = to_tensor(inputs["rows"], inputs["rows"].device)
    return torch.where(inputs["mirrored"][:, None, None, None], x.flip(3), x) if config.flip else x


@torch.no_grad()
def follow(run: Run, decay: Tensor, sigma: Tensor | None) -> None:
    """The averaged weights go a little after the ones that learn."""
    ahead = torch._foreach_sub(run.parameters, run.averaged)
    torch._foreach_mul_(ahead, 1 - decay)
    torch._foreach_add_(run.averaged, ahead)
    if sigma is not None:
        run.model.sigma.copy_(sigma)
        run.average.sigma.lerp_(sigma, 1 - decay)
