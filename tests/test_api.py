"""What programs get: the running app, asked by gradio_client and by an MCP client, against the library on the same pictures."""

import asyncio
import base64
import inspect
import io
import re
import socket
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageSequence

from tests.bench import page as bench
from tests.test_house import README
from ui import api, files, page
from vae import checkpoints, latents
from vae.errors import BadInput
from vae.measure.best import best_of
from vae.pictures import images

NAMES = ["models", "encode", "decode", "knobs", "turn", "sample", "morph", "train", "status", "stop", "download"]
PATIENCE = 120  # seconds, for a busy machine


@pytest.fixture(scope="module")
def uploads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def url(uploads, tmp_path_factory) -> Iterator[str]:
    """The address of the running app, with MCP where that is installed."""
    runs = tmp_path_factory.mktemp("runs")
    own = {"GRADIO_TEMP_DIR": str(uploads), "VAE_RUNS": str(runs), "GRADIO_MCP_SERVER": "1"}
    with bench.server(bench.ROOT / "app.py", **own) as (process, address):
        bench.wait_for(process, address)
        yield address


@pytest.fixture(scope="module")
def client(url, tmp_path_factory) -> Client:
    return Client(url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture(scope="module")
def avatars() -> checkpoints.Checkpoint:
    return checkpoints.load("avatars")


@pytest.fixture
def given(avatars, tmp_path) -> list[str]:
    """Files of two of the model's examples."""
    for name, picture in zip("ab", avatars.atlas.examples[:2], strict=True):
        (tmp_path / f"{name}.png").write_bytes(images.encode(picture))
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def shows(path: str, picture: np.ndarray) -> bool:
    """Whether the file holds the picture: up to rounding, which goes by the number of threads."""
    return np.abs(images.load(path).astype(int) - picture).max() <= 2


def waited(client: Client, token: str, *states: str) -> dict:
    deadline = time.monotonic() + PATIENCE
    while (run := client.predict(token=token, api_name="/status"))["state"] not in states:
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {states}, found {run}"
        time.sleep(0.2)
    return run


def test_programs_see_these_endpoints_and_no_other_each_with_names_types_and_a_sentence(client):
    shown = client.view_api(return_format="dict", print_info=False)
    assert [name.strip("/") for name in shown["named_endpoints"]] == NAMES
    assert not shown["unnamed_endpoints"]
    for name, endpoint in shown["named_endpoints"].items():
        assert endpoint["description"].endswith("."), name
        assert all(part["type"] for part in endpoint["parameters"] + endpoint["returns"]), name
        assert [part["parameter_name"] for part in endpoint["parameters"]] == list(
            inspect.signature(getattr(api, name.strip("/"))).parameters
        )
    sample = {part["parameter_name"]: part for part in shown["named_endpoints"]["/sample"]["parameters"]}
    assert sample["prior"]["type"] == {"enum": ["normal", "mixture"]}
    assert sample["count"]["parameter_default"] == 32
    assert "api" in page.LAUNCH["footer_links"]


def test_models_are_those_that_ship(client):
    found = {model["name"]: model for model in client.predict(api_name="/models")}
    assert list(found) == checkpoints.names()
    assert found["digits"]["channels"] == 1
    assert (found["avatars"]["size"], found["avatars"]["latent"]) == (128, 64)
    assert "glasses" in found["avatars"]["traits"]


def test_a_picture_becomes_its_posterior_and_a_latent_becomes_its_picture(client, avatars, given):
    latent, std, note = client.predict(picture=handle_file(given[0]), api_name="/encode")
    posterior = avatars.posterior(avatars.atlas.examples[:1])
    assert latent == pytest.approx(posterior.mean[0].tolist(), abs=1e-3)
    assert std == pytest.approx(posterior.std()[0].tolist(), abs=1e-3)
    assert note == ""
    asked = [latent, [0.0] * 64]
    drawn = client.predict(latents=asked, api_name="/decode")
    assert all(shows(path, picture) for path, picture in zip(drawn, avatars.decode(asked), strict=True))


def test_knobs_that_are_turned_read_what_was_asked_and_all_else_moves_as_little_as_it_can(client, avatars, given):
    ranges = client.predict(api_name="/knobs")
    assert ranges == {knob.key: pytest.approx([knob.low, knob.high]) for knob in avatars.atlas.knobs}
    values = {"named:glasses": 1.0, "named:hat": 0.5}
    turned = client.predict(picture=handle_file(given[0]), values=values, api_name="/turn")
    chosen = [knob for knob in avatars.atlas.knobs if knob.key in values]
    vectors, probes = (np.stack([getattr(knob, name).numpy() for knob in chosen]) for name in ("vector", "probe"))
    z = avatars.encode(avatars.atlas.examples[:1])[0].numpy()
    missing = [values[knob.key] + knob.offset for knob in chosen] - probes @ z
    # Each vector is its probe times the covariance, so that the least move lies in their span.
    z = z + np.linalg.solve(probes @ vectors.T, missing) @ vectors
    assert shows(turned, avatars.decode(z[None])[0])
    assert not shows(turned, avatars.decode(avatars.encode(avatars.atlas.examples[:1]))[0])


def test_two_knobs_that_mean_nearly_the_same_are_not_turned_apart(client, avatars, given):
    named = [knob for knob in avatars.atlas.knobs if knob.kind == "named"]
    vectors, probes = (np.stack([getattr(knob, name).numpy() for knob in named]) for name in ("vector", "probe"))
    moved = probes @ vectors.T  # of one step's way along j: what is read by i
    left = 1 - moved * moved.T + np.eye(len(named))  # of a step beside the other: 1 where they are independent
    i, j = np.unravel_index(left.argmin(), left.shape)
    if left[i, j] > 0.15:
        pytest.skip("no two knobs of this model are that alike")
    values = {named[i].key: named[i].high, named[j].key: named[j].low}
    with pytest.raises(AppError, match="left of"):
        client.predict(picture=handle_file(given[0]), values=values, api_name="/turn")


def test_one_seed_gives_the_pictures_that_the_library_gives(client):
    digits = checkpoints.load("digits")
    asked = {"count": 4, "seed": 7, "temperature": 0.8, "only": ["label=3"], "draw": 50, "difference": 0.5}
    pictures, found = client.predict("digits", **asked, api_name="/sample")
    z = digits.atlas.prior("mixture", 50, 7, 0.8, ["label=3"], least=4)
    rows, _ = best_of(digits.atlas, z, 4, 0.5)
    assert np.allclose(found, z[rows], atol=1e-3)
    assert all(shows(path, picture) for path, picture in zip(pictures, digits.decode(z[rows]), strict=True))
    near, latents_near = client.predict("digits", count=2, draw=2, around=found[0], spread=0.0, api_name="/sample")
    assert np.allclose(latents_near, [found[0]] * 2, atol=1e-2)
    assert len(near) == 2


def frames(film: str | io.BytesIO) -> list[np.ndarray]:
    """A film's pictures at 128 pixels, of its 256."""
    pictures = ImageSequence.Iterator(Image.open(film))
    return [np.asarray(picture.convert("RGB"), dtype=int)[::2, ::2] for picture in pictures]


def nearly(frame: np.ndarray, picture: np.ndarray) -> bool:
    """A film has 128 colours."""
    return np.abs(frame - picture).mean() < 5


def test_a_film_goes_from_one_reconstruction_to_the_other_and_back(client, avatars, given):
    first, second = map(handle_file, given)
    film = frames(client.predict(first=first, second=second, steps=5, path="arc", api_name="/morph"))
    ends = avatars.encode(avatars.atlas.examples[:2])
    way = avatars.decode(latents.PATHS["arc"](*ends, 5))
    assert len(film) == 8
    assert all(nearly(frame, picture) for frame, picture in zip(film, [*way, *way[3:0:-1]], strict=True))
    assert nearly(film[0], avatars.decode(ends)[0])
    assert nearly(film[4], avatars.decode(ends)[1])
    assert not nearly(film[0], avatars.decode(ends)[1])
    one = client.predict(first=first, second=first, steps=2, api_name="/morph")  # the same upload twice
    assert nearly(frames(one)[0], avatars.decode(ends)[0])


def test_what_is_sent_is_gone_once_it_is_read_and_what_was_answered_stays(url, client, given, uploads):
    with open(given[0], "rb") as file:
        (path,) = httpx.post(f"{url}/gradio_api/upload", files=[("files", ("mine.png", file))]).json()
    latent, *_ = client.predict(picture={"path": path}, api_name="/encode")
    assert not list(uploads.rglob("mine.png"))
    with pytest.raises(AppError, match="not among the uploads"):
        client.predict(picture={"path": path}, api_name="/encode")
    answered = set(uploads.rglob("avatars-00.png"))
    client.predict(latents=[[0.3] * 64], api_name="/decode")
    (answer,) = set(uploads.rglob("avatars-00.png")) - answered
    again, *_ = client.predict(picture=f"{url}/gradio_api/file={answer}", api_name="/encode")
    assert answer.exists()
    sent = f"data:image/png;base64,{base64.b64encode(Path(given[0]).read_bytes()).decode()}"
    by_data_url, *_ = client.predict(picture=sent, api_name="/encode")
    assert by_data_url == latent != again
    assert not list(uploads.rglob("file.png"))


REFUSED = [
    ("encode", {"picture": None}, "not among the uploads"),
    ("encode", {"picture": {"path": "/etc/passwd"}}, "not among the uploads"),
    ("encode", {"picture": "/etc/passwd"}, "not among the uploads"),
    ("encode", {"picture": "https://pictures.example/a.png"}, "no address is fetched"),
    ("encode", {"picture": handle_file("https://pictures.example/a.png")}, "no address is fetched"),
    ("encode", {"picture": "data:image/png;base64,AAAA"}, "no picture that can be read"),
    ("encode", {"picture": "data:image/png;base64,A"}, "damaged"),
    ("decode", {"latents": []}, "1 to 64 latents"),
    ("decode", {"latents": [[0.0] * 64] * 65}, "1 to 64 latents"),
    ("decode", {"latents": [[1, 2]]}, "64 finite numbers"),
    ("decode", {"latents": [[0.0] * 64], "model": "nobody's"}, "That model is not here"),
    ("knobs", {"model": "../avatars"}, "That model is not here"),
    ("sample", {"count": 65}, "“count” is 65; it must be a whole number from 1 to 64."),
    ("sample", {"count": 2.5}, "“count” is 2.5"),
    ("sample", {"draw": 1025}, "from 1 to 1024"),
    ("sample", {"seed": -1}, "from 0 to 2147483647"),
    ("sample", {"temperature": 1.6}, "from 0 to 1.5"),
    ("sample", {"prior": "<b>"}, "The prior '<b>' is unknown; choose one of normal, mixture."),
    ("sample", {"only": ["wings"]}, "no trait 'wings'"),
    ("sample", {"only": "glasses"}, "list of names of traits"),
    ("sample", {"around": [0.0]}, "64 finite numbers"),
    ("train", {"data": "music"}, "no data called “music”"),
    ("train", {"latent": 65}, "“latent” is 65; it must be a whole number from 2 to 64."),
    ("train", {"minutes": 11}, "“minutes” is 11; it must be a number from 0.1 to 10."),
    ("train", {"data": "pictures"}, "no pictures to learn from"),
    ("train", {"data": "pictures", "pictures": ["https://pictures.example/a.zip"]}, "no address is fetched"),
    ("status", {"token": "wrong"}, "no longer here"),
    ("stop", {"token": "a" * 32}, "no longer here"),
    ("download", {"token": "../../etc"}, "no longer here"),
]


@pytest.mark.parametrize(("name", "values", "sentence"), REFUSED)
def test_what_is_out_of_range_or_strange_gets_a_sentence(client, name, values, sentence):
    with pytest.raises(AppError, match=re.escape(sentence)):
        client.predict(**values, api_name=f"/{name}")


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("turn", {"values": {"named:wings": 1}}, "no knob called “named:wings”"),
        ("turn", {"values": {"named:hat": 99}}, "“named:hat” is 99; it must be a number from "),
        ("turn", {"values": [1]}, "each by the key of a knob"),
        ("morph", {"steps": 34}, "“steps” is 34; it must be a whole number from 2 to 33."),
        ("morph", {"path": "zigzag"}, "choose one of line, arc"),
    ],
)
def test_so_does_what_comes_with_a_picture_which_is_gone_then_too(client, given, uploads, name, values, sentence):
    sent = dict(zip({"turn": ["picture"], "morph": ["first", "second"]}[name], map(handle_file, given), strict=False))
    with pytest.raises(AppError, match=re.escape(sentence)):
        client.predict(**sent, **values, api_name=f"/{name}")
    assert not [*uploads.rglob("a.png"), *uploads.rglob("b.png")]


STRANGE = [
    None, True, -1, 0, 1, 2**70, 0.5, -1e300, float("nan"), float("inf"), "", "é\0", "x" * 5000, "data:", "digits", [], [[]],
    [None], [[1.0]], ["x"], [{}], {}, {"path": 1}, {"path": "\0"}, {"path": "x" * 5000}, {"a": {"b": []}},
]  # fmt: skip


@pytest.mark.parametrize("function", api.ENDPOINTS, ids=lambda function: function.__name__)
def test_whatever_json_is_given_only_the_callers_fault_is_ever_found(function, monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_RUNS", str(tmp_path))
    digits = checkpoints.load("digits")
    picture = f"data:image/png;base64,{base64.b64encode(images.encode(digits.atlas.examples[0])).decode()}"
    right = {
        "picture": picture, "first": picture, "second": picture, "model": "digits", "count": 1, "draw": 1, "steps": 2,
        "latents": [[0.0] * digits.model.config.latent], "values": {"unit:0": 1.0}, "data": "nothing", "token": "wrong",
    }  # fmt: skip
    names = inspect.signature(function).parameters
    for name in names:
        for value in STRANGE:
            try:
                function(**{key: right[key] for key in names if key in right} | {name: value})
            except BadInput as error:
                assert len(str(error)) <= 620, f"{name}: {value!r}"


@pytest.mark.parametrize(
    ("kind", "asks"), [(gr.Blocks, True), (files.UploadsOnly, False)], ids=["as Gradio is", "as here"]
)
def test_what_a_caller_names_is_not_even_resolved_and_what_is_sent_is_not_kept(kind, asks, monkeypatch):
    resolved = []
    resolve = socket.getaddrinfo

    def noted(host, *more, **options):
        if host in (None, "localhost", "127.0.0.1", "0.0.0.0"):
            return resolve(host, *more, **options)
        resolved.append(host)
        raise socket.gaierror("nobody is asked in a test")

    def size(file: gr.FileData, word: str = "") -> int:
        return Path(file["path"]).stat().st_size + len(word)

    with kind(analytics_enabled=False) as demo:
        gr.api(size)
    demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        client = Client(demo.local_url, verbose=False)
        monkeypatch.setattr(socket, "getaddrinfo", noted)
        assert client.predict(handle_file(__file__), "a word", api_name="/size") == Path(__file__).stat().st_size + 6
        with pytest.raises(AppError, match=None if asks else "no address is fetched"):
            client.predict(file=handle_file("https://pictures.example/a.png"), api_name="/size")
        with pytest.raises(AppError, match=None if asks else "no path of this server"):
            httpx_call(demo.local_url, "size", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}})
    finally:
        demo.close()
    assert ("pictures.example" in resolved) == asks
    kept = [session.config_values for session in demo.app.state_holder.session_data.values()]
    assert ("a word" in repr(kept)) == asks


def httpx_call(address: str, name: str, *values: object) -> None:
    """Raises AppError with what the server says, as for a caller who needs no client."""
    event = httpx.post(f"{address.strip('/')}/gradio_api/call/{name}", json={"data": values}).json()["event_id"]
    text = httpx.get(f"{address.strip('/')}/gradio_api/call/{name}/{event}").text
    if "event: error" in text:
        raise AppError(text)


def test_the_readmes_lines_for_programs_run_and_end_with_a_model_of_ones_own(url, client, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python3\n(.*?)```", README, re.DOTALL)
    assert "http://127.0.0.1:7860" in code
    monkeypatch.chdir(tmp_path)
    said: dict = {}
    exec(compile(code.replace("http://127.0.0.1:7860", url), "README.md", "exec"), said)
    assert said["names"] == checkpoints.names()
    assert len(frames(said["film"])) == 2 * 24 - 2
    with zipfile.ZipFile(said["model"]) as archive:
        archive.extractall("mine")
    mine = checkpoints.load("mine")
    assert mine.model.config.latent == 8
    (drawn,) = client.predict(latents=[[0.5] * 8], model=said["token"], api_name="/decode")
    assert shows(drawn, mine.decode([[0.5] * 8])[0])


def test_one_training_runs_at_a_time_and_can_be_watched_and_stopped(client):
    token = client.predict(data="digits", latent=8, minutes=10, api_name="/train")
    with pytest.raises(AppError, match="Another training has this machine"):
        client.predict(api_name="/train")
    with pytest.raises(AppError, match="nothing to take home of this training yet"):
        client.predict(token=token, api_name="/download")
    assert waited(client, token, "learning", "failed")["fraction"] < 0.5
    assert client.predict(token=token, api_name="/stop")["stopping"]
    assert waited(client, token, "finishing", "done", "failed")["state"] != "failed"


def test_an_agent_finds_the_same_as_tools_and_gets_a_film(url, avatars, given):
    mcp = pytest.importorskip("mcp", reason="mcp is not installed")
    from mcp.client.streamable_http import streamable_http_client

    sent = [f"data:image/png;base64,{base64.b64encode(Path(path).read_bytes()).decode()}" for path in given]

    async def asked() -> tuple:
        async with (
            streamable_http_client(f"{url}/gradio_api/mcp/") as (reads, writes, _),
            mcp.ClientSession(reads, writes) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            film = await session.call_tool("morph", {"first": sent[0], "second": sent[1], "steps": 3})
            drawn = await session.call_tool("sample", {"count": 2})
            addresses = re.findall(r"http://[^']*\.png", drawn.content[0].text)
            between = await session.call_tool("morph", {"first": addresses[0], "second": addresses[1], "steps": 4})
            refused = await session.call_tool("morph", {"first": sent[0], "second": "https://pictures.example/a.png"})
            return tools, film, between, refused

    with ThreadPoolExecutor(1) as apart:  # where no browser's loop runs, which Playwright leaves in this thread
        tools, film, between, refused = apart.submit(asyncio.run, asked()).result()
    assert [tool.name for tool in tools] == NAMES
    assert all(tool.description for tool in tools)
    assert not film.isError, film.content
    assert [content.type for content in film.content] == ["image", "text"]
    ends = avatars.decode(avatars.encode(avatars.atlas.examples[:2]))
    shown = frames(fetched(film.content[1].text))
    assert len(shown) == 4
    assert nearly(shown[0], ends[0])
    assert nearly(shown[2], ends[1])
    assert len(frames(fetched(between.content[1].text))) == 6
    assert refused.isError
    assert "no address is fetched" in refused.content[0].text
    assert page.LAUNCH["mcp_server"] is False, "it is off unless GRADIO_MCP_SERVER says otherwise"


def fetched(text: str) -> io.BytesIO:
    (address,) = re.findall(r"http://\S+", text)
    return io.BytesIO(urllib.request.urlopen(address).read())
