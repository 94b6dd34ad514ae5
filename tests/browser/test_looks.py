"""A model whose encoder looks again, on both pages: what is fetched when, and that an upload is read as the library reads it."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.bench import page as bench
from tests.bench.static import served
from ui import static
from vae import checkpoints
from vae.checkpoints import BOUND, Checkpoint
from vae.model import VAE, VAEConfig
from vae.pictures import images
from vae.publish.export import export

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("digits" not in checkpoints.names(), reason="needs the digits"),
]
BOARD = ".lp-explore"
CANVAS = f"{BOARD} .pic canvas"


@pytest.fixture(scope="module")
def looking(browser, tmp_path_factory) -> Checkpoint:
    """Exported; with the digits' atlas, and networks that learnt nothing. Pictures of its size are taken as they are."""
    folder = tmp_path_factory.mktemp("models") / "looking"
    shutil.copytree(checkpoints.root() / "digits", folder)
    recipe = (folder / "recipe.toml").read_text(encoding="utf-8")
    (folder / "recipe.toml").write_text(recipe.replace('"digit"', '"square"'), encoding="utf-8")
    model = VAE(VAEConfig(size=28, channels=1, latent=20, widths=(16, 32), stem=4, adaptive_norm=True, looks=1))
    torch.nn.init.normal_(model.look.head.weight, std=0.1)  # at first it corrects nothing
    model.save_pretrained(folder)
    export(checkpoints.load(folder))
    return checkpoints.load(folder)


@pytest.fixture(scope="module", params=["with a server", "without one"])
def url(request, looking, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    if request.param == "without one":
        static.write([str(looking.folder)], folder / "site")
        with served(folder / "site") as address:
            yield address
    else:
        own = {"VAE_CHECKPOINTS": str(looking.folder.parent), "VAE_RUNS": str(folder / "runs")}
        own["GRADIO_TEMP_DIR"] = str(folder / "uploads")
        with bench.server(bench.ROOT / "app.py", **own) as (process, address):
            bench.wait_for(process, address)
            yield address


def kept(page) -> np.ndarray:
    """The latent that is shown, from the PNG that Keep gives."""
    with page.expect_download() as coming:
        page.locator(f"{BOARD} [data-act=keep]").click()
    text = Image.open(Path(coming.value.path())).text["latent-playground"].split(".")[3]
    numbers = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return np.frombuffer(numbers, np.int16) / 32767 * BOUND


def test_an_upload_is_read_by_both_looks_and_what_reads_comes_no_sooner(page, url, looking, tmp_path):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_selector(f"{BOARD}[data-local=ready]")
    before = page.evaluate(f"document.querySelector('{CANVAS}').toDataURL()")
    page.locator(f"{BOARD} input[type=range]").first.press("End")
    page.wait_for_function(f"old => document.querySelector('{CANVAS}').toDataURL() !== old", arg=before)
    assert any("draws.bin" in address for address in asked)
    assert not [address for address in asked if "reads.bin" in address or "encoder.onnx" in address]
    picture = looking.atlas.examples[3]
    images.save(picture[None], tmp_path / "own.png")
    page.set_input_files(f"{BOARD} input[type=file]", tmp_path / "own.png")
    page.wait_for_selector(f"{BOARD} .original:not([hidden])")
    assert any("reads.bin" in address for address in asked)
    assert not [address for address in asked if "/upload" in address]  # it stayed in the browser
    wanted = looking.encode(picture[None])[0].numpy()
    np.testing.assert_allclose(kept(page), wanted, atol=5e-3)
    once = looking.model.encoder(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255).mean[0].detach().numpy()
    assert np.abs(wanted - once).max() > 0.05  # so that one look would be noticed
