"""How the benchmark says its numbers: the machine first, then tables in Markdown with n, median and spread."""

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "gradio", "pythae")


@dataclass(frozen=True)
class Sample:
    """Repeated measurements of one thing: prints as `median (lowest to highest, n = ...)`."""

    values: Sequence[float]
    unit: str = ""
    digits: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, middle, high = (f"{v:.{self.digits}f}" for v in (min(self.values), self.median, max(self.values)))
        unit = f" {self.unit}" if self.unit else ""
        return f"{middle}{unit} ({low} to {high}, n = {len(self.values)})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Sample:
    """Ours over theirs, pair by pair: the pairs ran next to each other, so that a busy moment hits both."""
    return Sample([a / b for a, b in zip(ours, theirs, strict=True)], "x", 2)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """-> a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def machine() -> str:
    """One paragraph: what the numbers were measured on."""
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    versions = ", ".join(f"{p} {version(p)}" for p in PACKAGES)
    return (
        f"Measured on {processor()}, {os.cpu_count()} processors, {torch.get_num_threads()} torch thread(s){load}{gpu}; "
        f"{platform.system()}, Python {platform.python_version()}, {versions}."
    )
