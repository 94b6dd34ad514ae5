"""The library as `pip install .` gives it, in an environment that has what it needs but not this checkout."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import vae

ROOT = Path(__file__).parents[1]
USE = """
import sys
import numpy as np
import vae
from vae import checkpoints
from vae.pictures import faces
assert "site-packages" in vae.__file__, vae.__file__
assert faces.find(np.zeros((64, 64, 3), np.uint8)) == []  # its file is there
model = checkpoints.load(sys.argv[1])
print(vae.__version__, model.decode(model.encode(model.atlas.examples)).shape[1:])
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """The folder of an environment's programs; other packages than ours are those of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = folder / "source"  # building writes beside the sources
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY.md"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "vae").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    wheels = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(wheels, check=True, timeout=300)
    venv.create(folder / "env", with_pip=False)
    (library,) = (folder / "env").rglob("site-packages")
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", str(folder / "env"), "install", "--no-deps", str(wheel)], check=True, timeout=300)
    (library / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env" / ("Scripts" if sys.platform == "win32" else "bin")


def test_the_wheel_works_away_from_the_checkout(environment, tmp_path):
    command = [str(environment / "python"), "-c", USE, str(ROOT / "checkpoints" / "digits")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(" ", 1) == [vae.__version__, "(28, 28, 1)\n"]


def test_the_wheel_brings_the_command_and_its_types(environment, tmp_path):
    def vae(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([environment / "vae", *words], cwd=tmp_path, capture_output=True, text=True, timeout=300)

    assert vae("train", "--help").returncode == 0
    assert "invalid choice: 'page'" in vae("page").stderr  # the page's files are not in it
    assert list(environment.parent.rglob("vae/py.typed"))
