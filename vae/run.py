"""All that changes while a model learns: weights, their average, optimisers; and how it is put down and taken up again."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vae import device as devices
from vae.errors import BadInput
from vae.files import written_whole
from vae.model import VAE
from vae.recipe import ENDS, TrainConfig

State = tuple[dict[str, Tensor], dict]


class Run:
    """A model on its way. Every tensor of it can be captured, restored, saved to a file and loaded from one.

    model: what learns, by default recipe.model's own VAE; its average is what ships. critics: what sharpening needs beside it
    (sharpen.critic.Critics), or nothing.
    """

    def __init__(self, recipe: TrainConfig, device: torch.device, model: VAE | None = None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            model = VAE(recipe.model) if model is None else model
            critics: nn.Module | None = None
            if recipe.sharpen.share:
                from vae.sharpen.critic import Critics

                critics = Critics(recipe.model.channels, recipe.sharpen)
        self.model = model.to(device).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.critics = None if critics is None else critics.to(device).to(memory_format=torch.channels_last).train()
        self.optimizer = _adam(self.model, recipe.learning_rate, (0.9, 0.99), recipe.weight_decay)
        # Little momentum: the decoder that the critics judge is another one with every step.
        self.critics_optimizer = None if self.critics is None else _adam(self.critics, 1e-3, (0.5, 0.99), 0.0)
        self.step = 0
        self.seconds = 0.0  # spent learning, over all sittings
        self.rate_scale = 1.0
        self.rollbacks = 0
        self.history: list[list[float]] = []

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that changes, by its name."""
        found = {}
        parts = {"model": self.model, "average": self.average, "critics": self.critics}
        for part, module in parts.items():
            found |= {f"{part}.{name}": t for name, t in (module.state_dict() if module else {}).items()}
        for part, optimizer in {"adam": self.optimizer, "critics_adam": self.critics_optimizer}.items():
            for i, state in enumerate(optimizer.state.values() if optimizer else ()):
                found |= {f"{part}.{i}.{name}": t for name, t in state.items()}
        return found

    def is_finite(self) -> bool:
        """Whether no tensor of it, the critics' included, holds a value that is no number."""
        return all(bool(tensor.isfinite().all()) for tensor in self.tensors().values())

    def capture(self) -> State:
        """A copy of the tensors, and the numbers that belong to them."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors().items()}
        return tensors, {"step": self.step, "history": list(self.history)}

    def restore(self, state: State) -> None:
        """Takes up what capture gave."""
        tensors, numbers = state
        with torch.no_grad():
            for name, tensor in self.tensors().items():
                tensor.copy_(tensors[name])
        self.step, self.history = numbers["step"], list(numbers["history"])

    def save(self, path: Path, recipe: TrainConfig, pictures: str) -> None:
        """Writes the run to a file, whole or not at all. pictures: their fingerprint."""
        tensors, numbers = self.capture()
        numbers |= {"seconds": self.seconds, "rate_scale": self.rate_scale, "rollbacks": self.rollbacks}
        meta = {"numbers": json.dumps(numbers), "recipe": recipe.to_toml(), "pictures": pictures}
        with written_whole(path) as file:
            file.write(safetensors.torch.save({name: t.contiguous().cpu() for name, t in tensors.items()}, meta))

    def load(self, path: Path, recipe: TrainConfig, pictures: str) -> None:
        """Takes up what save wrote. BadInput where it cannot be read, or belongs to other pictures or another recipe.

        The end of the recipe may be another one: that is how a run is made longer.
        """
        try:
            with safe_open(path, "pt") as file:
                meta = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            numbers, saved = json.loads(meta["numbers"]), TrainConfig.from_toml(meta["recipe"])
            shapes = {name: tensor.shape for name, tensor in tensors.items()}
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise BadInput(f"The run in {path} cannot be read; start again without resuming.") from error
        if differs := _differing(saved, recipe):
            raise BadInput(f"The run in {path} has another recipe: {differs}. Give it the same one, or another --out.")
        if meta.get("pictures") != pictures:
            raise BadInput(f"The run in {path} learnt from other pictures; give it the same ones, or another --out.")
        if shapes != {name: tensor.shape for name, tensor in self.tensors().items()}:
            raise BadInput(f"The run in {path} is of another network; start again without resuming.")
        self.restore((tensors, numbers))
        self.seconds, self.rate_scale, self.rollbacks = (numbers[k] for k in ("seconds", "rate_scale", "rollbacks"))


def fingerprint(pictures: np.ndarray) -> str:
    """Which pictures these are: a hash of all their bytes and of their order."""
    return hashlib.blake2b(np.ascontiguousarray(pictures).data, digest_size=16).hexdigest()


def _differing(saved: TrainConfig, given: TrainConfig) -> str:
    """The entries in which two recipes differ, in words: "batch is 64, was 32"; what the weights do not hang on aside."""
    aside = (*ENDS, "card", "categories", "show_data", "start")
    one, other = ({k: v for k, v in dataclasses.asdict(recipe).items() if k not in aside} for recipe in (saved, given))
    pairs = [(name, one[name], other[name]) for name in one if one[name] != other[name]]
    flat = []
    for name, was, now in pairs:
        inner = [(f"{name}.{k}", was[k], now[k]) for k in was if was[k] != now[k]] if isinstance(was, dict) else []
        flat += inner or [(name, was, now)]
    return ", ".join(f"{name} is {now}, was {was}" for name, was, now in flat)


def _adam(module: nn.Module, rate: float, betas: tuple[float, float], weight_decay: float) -> torch.optim.AdamW:
    """An AdamW whose state is there from the start, so that it can be restored before its first step."""
    parameters = list(module.parameters())
    device = parameters[0].device
    options: dict = {"lr": rate}
    if device.type in ("cpu", "cuda"):
        # The rate is a tensor, so that a recorded step reads what it is by then.
        options = {"lr": torch.tensor(rate, device=device), "fused": True, "capturable": device.type == "cuda"}
    optimizer = torch.optim.AdamW(parameters, betas=betas, weight_decay=weight_decay, **options)
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=device if device.type == "cuda" else "cpu"),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimizer


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
