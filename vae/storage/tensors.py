"""Strangers' safetensors: looked at before memory is taken for them."""

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vae.errors import BadInput

Heads = dict[str, tuple]  # what a file's header says of its tensors: name -> (type, *shape)


def read_tensors(path: Path, check: Callable[[Heads], None]) -> dict[str, Tensor]:
    """A safetensors file -> its tensors, once check has seen their heads. BadInput if it is damaged, or a value is no number."""
    try:
        with safe_open(path, "pt") as file:
            heads = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            check({name: (head.get_dtype(), *head.get_shape()) for name, head in heads.items()})
            tensors = {name: file.get_tensor(name) for name in heads}
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path.name} is missing or damaged.") from error
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise BadInput(f"{path.name} holds values that are no numbers.")
    return tensors


def read_weights(path: Path, model: nn.Module) -> dict[str, Tensor]:
    """A safetensors file -> a state_dict for the model, float32. BadInput unless names and shapes are the model's own."""

    def check(found: Heads) -> None:
        wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        shapes = {name: shape for name, (_, *shape) in found.items()}
        wrong = sorted(name for name in {*wanted, *shapes} if list(wanted.get(name, (None,))) != shapes.get(name))
        if wrong:
            raise BadInput(f"in {path.name} the tensor {wrong[0]:.60} and {len(wrong) - 1} more do not match.")
        strange = [name for name, (kind, *_) in found.items() if kind not in ("F16", "BF16", "F32")]
        if strange:
            raise BadInput(f"in {path.name} {strange[0]:.60} is {found[strange[0]][0]}, not F16 or F32.")

    return {name: tensor.float() for name, tensor in read_tensors(path, check).items()}
