"""The house's own rules: who imports whom, what the README promises, no large file."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vae import cli
from vae.__main__ import write_page
from vae.model import VAEConfig
from vae.recipe import TrainConfig
from vae.training import train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The core of vae, directly in its folder: imports run only down this list, and at import time none enters a wing.
CORE = (
    "training", "checkpoints", "recipe", "atlas", "data", "priors", "losses", "latents", "model", "device",
    "errors",
)  # fmt: skip
# The wings: each may import the core and the wings below it.
WINGS = ("cli", "publish", "runs", "sharpen", "measure", "pictures", "storage")
# Modules that each layer must not know.
FORBIDDEN = {"vae": {"gradio", "ui", "app", "tests"}, "ui": {"app", "tests"}}
IGNORED = {
    ".git",
    ".venv",
    "node_modules",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    ".mypy_cache",
    ".hypothesis",
}
LARGEST = 10 * 2**20  # what hosts of git refuse


def imports(path: Path, at_import_only: bool = False) -> set[str]:
    """-> every module that the file imports, by its full name; `from vae import x` counts as vae.x.

    at_import_only: leave out what is imported within functions. What only a type checker sees never counts.
    """
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    for node in tree.body if at_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import; write the full name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_arrows_between_the_layers_go_one_way(layer):
    assert sources(layer)
    for path in sources(layer):
        if path.name == "__main__.py":
            continue  # a front door like app.py: it joins the command line and the page's own files
        known = {name.split(".")[0] for name in imports(path)}
        assert not known & FORBIDDEN[layer], f"{path.relative_to(ROOT)} must not import {known & FORBIDDEN[layer]}"


def places(path: Path, at_import_only: bool = False) -> set[str]:
    """What a file imports of vae: names of core files and of wings."""
    return {name.split(".")[1] for name in imports(path, at_import_only) if name.startswith("vae.")}


def test_arrows_inside_the_core_go_down_the_list_and_enter_no_wing_at_import_time():
    for path in (ROOT / "vae").glob("*.py"):
        if path.stem in ("__init__", "__main__"):
            continue
        assert path.stem in CORE, f"vae/{path.name} is not in the house's list: give it a place"
        below = set(CORE[CORE.index(path.stem) + 1 :])
        used = places(path)
        assert used - set(WINGS) <= below, f"vae/{path.name} imports {used - below}, which stands above it"
        early = places(path, at_import_only=True) & set(WINGS)
        assert not early, f"vae/{path.name} enters the wing {early} at import time"


def test_wings_import_only_the_core_and_the_wings_below_them():
    for wing in WINGS:
        for path in sources(f"vae/{wing}"):
            below = {*CORE, *WINGS[WINGS.index(wing) :]}
            assert places(path) <= below, (
                f"{path.relative_to(ROOT)} imports {places(path) - below}, which stands above it"
            )


def test_the_app_only_builds_and_launches_the_page():
    known = {name.split(".")[0] for name in imports(ROOT / "app.py")}
    assert "ui" in known
    assert "torch" not in known


def test_ui_leaves_tensors_to_vae():
    for path in sources("ui"):
        assert not {"sklearn", "scipy"} & {name.split(".")[0] for name in imports(path)}, path.name
        used = re.findall(r"\btorch\.(\w+)", path.read_text(encoding="utf-8"))
        assert set(used) <= {"set_num_threads"}, f"{path.name} does tensor maths: torch.{used[0]}"


def test_the_readme_prints_the_tree_in_the_order_of_the_arrows():
    tree = README.split("## The tree", 1)[1].split("\nui/")[0]
    lines = [line.split(".py")[0].strip() for line in tree.splitlines() if line.startswith("  ") and ".py " in line]
    assert tuple(lines) == CORE


def test_the_readme_has_exactly_two_set_up_commands():
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    start, test = commands
    assert start.endswith("app.py")
    assert test.endswith("-m pytest")
    for name in re.findall(r"-r (\S+)", " ".join(commands)):
        assert (ROOT / name).is_file()


def test_spaces_front_matter_names_what_is_there():
    front = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines())
    assert (ROOT / front["app_file"]).is_file()
    assert front["python_version"] == '"3.12"'
    asked = re.search(r"^gradio>=(\S+),<(\d+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert front["sdk_version"].startswith(asked.group(1))


def examples() -> list[list[str]]:
    """The README's example lines of the command line, each as its words."""
    return [line.split() for line in re.findall(r"^python -m vae (.+)$", README, re.MULTILINE)]


@pytest.mark.parametrize("verb", sorted({words[0] for words in examples()}))
def test_the_command_line_knows_what_the_readme_shows(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"], write_page)
    assert ended.value.code == 0
    known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    shown = {word for words in examples() if words[0] == verb for word in words if word.startswith("--")}
    assert shown <= known, f"`python -m vae {verb} --help` does not know {shown - known}"
    for recipe in (word for words in examples() for word in words if word.endswith(".toml")):
        assert (ROOT / recipe).is_file(), recipe


def test_the_command_line_starts_as_the_readme_says():
    done = subprocess.run(
        [sys.executable, "-m", "vae", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"film.gif", "glasses.png"}


@pytest.mark.parametrize("path", sorted((ROOT / "tests/bench").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_the_benchmark_fits_the_library(path):
    for name in imports(path):
        if name.split(".")[0] in ("vae", "ui", "tests"):
            module, _, part = name.rpartition(".")
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), part), f"{path.name} imports {name}, which is not there"


def test_the_readmes_listener_hears_every_figure():
    (code,) = re.findall(r"```py\n(.*?)```", README, re.DOTALL)
    heard = {}
    recipe = TrainConfig(
        data="none", steps=3, batch=4, model=VAEConfig(size=8, channels=1, latent=2, widths=(8,), stem=2)
    )
    grey = SimpleNamespace(images=np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8))
    writer = SimpleNamespace(add_scalar=lambda name, value, step: heard.setdefault(name, []).append((step, value)))
    exec(code, {"train": train, "recipe": recipe, "pictures": grey, "heldout": grey, "writer": writer})
    assert {"reconstruction", "kl", "heldout", "learning_rate"} <= set(heard)
    assert heard["step"][-1] == (3, 3.0)


def codes(words: dict, path: str = "") -> dict[str, str]:
    """Every text of code in the page's words, by its key."""
    found = {}
    for key, value in words.items():
        if isinstance(value, dict):
            found |= codes(value, f"{path}{key}.")
        elif key.endswith("code") and "import" in value:
            found[path + key] = value
    return found


@pytest.mark.parametrize(("key", "code"), codes(json.loads((ROOT / "ui/words/en.json").read_text("utf-8"))).items())
def test_the_pages_five_lines_of_code_run(key, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("{model}", "avatars").replace("{seed}", "7"), key, "exec"), {})


def test_requirements_of_the_library_and_of_the_app_agree():
    app = {re.split(r"[<>=]", line)[0]: line.split()[0] for line in _lines("requirements.txt")}
    project = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    for line in re.findall(r'"(.+?)"', project.group(1)):
        assert app[re.split(r"[<>=]", line)[0]] == line


def test_every_requirement_has_a_reason():
    for name in ("requirements.txt", "tests/requirements.txt", "tests/bench/requirements.txt"):
        assert all(re.search(r"\s#\s\S+", line) for line in _lines(name) if not line.startswith("-r")), name


def _lines(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]


def test_no_file_is_larger_than_hosts_take():
    for path in ROOT.rglob("*"):
        if not IGNORED & set(path.relative_to(ROOT).parts) and path.is_file():
            assert path.stat().st_size < LARGEST, f"{path.relative_to(ROOT)} has {path.stat().st_size:,} bytes"
