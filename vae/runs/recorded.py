"""A training step, recorded on a GPU and replayed."""

from collections.abc import Callable

import torch
from torch import Tensor

from vae.runs.run import Run


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
