"""Encoder and decoder as ONNX graphs, for a browser or whatever else has no PyTorch.

A graph is a few kilobytes: its weights stay in model.safetensors, fp16 as they are there, as ONNX's external data, and are
cast to fp32 when a session opens. So they are stored once, and fetched once for both. Inputs and outputs are fp32. As a graph
knows its weights by their places in the file alone, it carries the file's digest: with any other it would draw nonsense.
"""

import copy
import filecmp
import hashlib
import importlib.util
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vae.checkpoints import Checkpoint
from vae.errors import BadInput
from vae.model import VAE
from vae.publish.folder import refuse_foreign
from vae.storage.files import written_folder

WEIGHTS = "model.safetensors"
GRAPHS, PARTS = ("decoder.onnx", "encoder.onnx"), ("draws.bin", "reads.bin")
OPSET = 18


class _Half(nn.Module):
    """One way through a VAE as the forward pass that the exporter asks for."""

    def __init__(self, vae: VAE, way: Callable[[VAE, Tensor], Tensor | tuple[Tensor, Tensor]]):
        super().__init__()
        self.vae, self.way = vae, way

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.way(self.vae, x)


def _encode(vae: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    posterior = vae.encode(x)
    return posterior.mean, posterior.logvar


def export(checkpoint: Checkpoint, folder: Path | None = None) -> list[Path]:
    """Writes decoder.onnx, from z (N, D) to picture (N, C, S, S) in [0, 1], and encoder.onnx, from x to mean and logvar (N, D).

    Both read the model.safetensors beside them, which is copied into a folder that has none. Without a folder they go beside
    the checkpoint's own weights, or, of one from the hub, into NAME-onnx here. All are written or none. BadInput where the
    packages of the extra `export` are missing, or where the folder holds other weights or what is not ours.
    """
    if not (importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxscript")):  # what torch.onnx asks for
        raise BadInput("Exporting needs the packages onnx and onnxscript: pip install onnx onnxscript.")
    if folder is None:
        folder = Path(f"{checkpoint.name}-onnx") if checkpoint.hub_id else checkpoint.folder
    weights = checkpoint.folder / WEIGHTS
    refuse_foreign(folder, whole=lambda found: (found / WEIGHTS).is_file(), what="a checkpoint or an export")
    if (folder / WEIGHTS).is_file() and not filecmp.cmp(weights, folder / WEIGHTS, shallow=False):
        raise BadInput(f"{folder} holds the weights of another model; name another folder.")
    vae, config = copy.deepcopy(checkpoint.model).cpu(), checkpoint.model.config  # others may be drawing with it
    x, z = torch.zeros(2, config.channels, config.size, config.size), torch.zeros(2, config.latent)
    places, digest = _places(weights), checkpoint.digest
    with written_folder(folder) as beside:
        if folder.is_dir():
            shutil.copytree(folder, beside, dirs_exist_ok=True)
        if not (beside / WEIGHTS).is_file():
            shutil.copyfile(weights, beside / WEIGHTS)
        decoder = _graph(_Half(vae, VAE.decode), z, ["z"], ["picture"], places, digest)
        (beside / "decoder.onnx").write_bytes(decoder)
        (beside / "encoder.onnx").write_bytes(_graph(_Half(vae, _encode), x, ["x"], ["mean", "logvar"], places, digest))
    return [folder / name for name in GRAPHS]


def pieces(checkpoint: Checkpoint, folder: Path | None = None) -> dict[str, bytes]:
    """What draws and reads without PyTorch, by name: GRAPHS from the folder, by default the checkpoint's own, and WEIGHTS in two.

    PARTS[0] is what the decoder needs of the weights; the encoder needs it with PARTS[1] after it. {} where the folder lacks a
    graph, or where one of them or the weights are no longer those of the checkpoint that was loaded.
    """
    folder, weights = folder or checkpoint.folder, checkpoint.folder / WEIGHTS
    if not all((folder / name).is_file() for name in GRAPHS):
        return {}
    found, content = {name: (folder / name).read_bytes() for name in GRAPHS}, weights.read_bytes()
    digest, end = checkpoint.digest.encode(), decoder_end(weights)
    if hashlib.sha256(content).hexdigest()[:12] != checkpoint.digest or any(
        digest not in graph for graph in found.values()
    ):
        return {}
    return found | dict(zip(PARTS, (content[:end], content[end:]), strict=True))


def decoder_end(weights: Path) -> int:
    """How many bytes of a model.safetensors a decoder's graph needs: they come first, the encoder's after them.

    BadInput where they do not.
    """
    places = _places(weights)
    end = max(start + length for name, (start, length, _) in places.items() if name.startswith("decoder."))
    if any(start < end for name, (start, *_) in places.items() if not name.startswith("decoder.")):
        raise BadInput(f"{weights} has its tensors in another order than the one that they are saved in.")
    return end


def _graph(
    module: nn.Module, example: Tensor, inputs: list[str], outputs: list[str], places: dict, digest: str
) -> bytes:
    from onnx import TensorProto, helper

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), (example,), dynamo=True, opset_version=OPSET, input_names=inputs, output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("N")},), verbose=False,
        )  # fmt: skip
    assert program is not None  # as it is with dynamo
    model = program.model_proto
    del model.metadata_props[:]
    model.metadata_props.add(key=WEIGHTS, value=digest)
    casts = []
    for tensor in model.graph.initializer:
        start, length, shape = places.get(tensor.name.removeprefix("vae."), (0, 0, None))
        if list(tensor.dims) != shape or tensor.data_type != TensorProto.FLOAT:
            continue  # made by the exporter: a few constants
        half = f"{tensor.name}.half"
        casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
        tensor.Clear()
        tensor.name, tensor.data_type, tensor.data_location = half, TensorProto.FLOAT16, TensorProto.EXTERNAL
        tensor.dims.extend(shape)
        for key, value in (("location", WEIGHTS), ("offset", start), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
    nodes = [*casts, *model.graph.node]
    for node in nodes:
        del node.metadata_props[:]  # where in the exporter's sources it came from
        node.doc_string = ""
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def _places(weights: Path) -> dict[str, tuple[int, int, list[int]]]:
    """Where each tensor of a safetensors file lies: name -> (first byte, bytes, shape)."""
    with open(weights, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {
        name: (8 + size + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0], entry["shape"])
        for name, entry in header.items()
    }
