"""All that changes while a model learns: weights, their average, optimisers; and the way back when they blow up."""

import copy

import torch
from torch import Tensor, nn

from vae.errors import BadInput
from vae.model import VAE
from vae.recipe import TrainConfig

SNAPSHOT_STEPS = 200
ROLLBACK = 0.3  # what the learning rate is multiplied with after a step that blew up
MAX_ROLLBACKS = 6
State = tuple[dict[str, Tensor], dict]


class Run:
    """A model on its way, all of whose tensors can be captured and restored.

    model: what learns, by default recipe.model's own VAE; its average is what ships. critics: what sharpening needs beside it
    (sharpen.critic.Critics), or nothing.
    """

    def __init__(self, recipe: TrainConfig, device: torch.device, model: VAE | None = None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            model = VAE(recipe.model) if model is None else model
            critics = None
            if recipe.sharpen.share:
                from vae.sharpen.critic import Critics

                critics = Critics(recipe.model.channels, recipe.sharpen)
        self.model = model.to(device).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.critics = None if critics is None else critics.to(device).to(memory_format=torch.channels_last).train()
        self.optimizer = _adam(self.model, recipe.learning_rate, (0.9, 0.99), recipe.weight_decay)
        # Little momentum: the decoder that the critics judge is another one with every step.
        self.critics_optimizer = None
        if self.critics is not None and any(True for _ in self.critics.parameters()):
            self.critics_optimizer = _adam(self.critics, 1e-3, (0.5, 0.99), 0.0)
        self.step = 0
        self.seconds = 0.0  # spent learning, over all sittings
        self.rate_scale = 1.0
        self.rollbacks = 0
        self.history: list[list[float]] = []

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that changes, by its name."""
        found: dict[str, Tensor] = {}
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


class Guard:
    """Remembers the last good state of a run, and takes it back there when a loss or a weight is no number."""

    def __init__(self, run: Run):
        self.run = run
        self.remember()

    def remember(self) -> None:
        """To be called for a state all of whose tensors are finite."""
        self.good = self.run.capture()

    def is_due(self) -> bool:
        return self.run.step - self.good[1]["step"] >= SNAPSHOT_STEPS

    def go_back(self, learning_rate: float) -> str:
        """-> a note that says so. BadInput after too many times."""
        run = self.run
        run.rollbacks += 1
        if run.rollbacks > MAX_ROLLBACKS:
            raise BadInput(
                f"The loss left all bounds {run.rollbacks} times; try a learning_rate under {learning_rate}."
            )
        run.restore(self.good)
        run.rate_scale *= ROLLBACK
        return f"A loss was no number: back to step {run.step} with {run.rate_scale:.2g} of the learning rate."
