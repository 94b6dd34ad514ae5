"""The page without a server: a folder of files, or one file, in which the browser does all that the server does but train.

It mounts the same modules and styles as the page with one. `python -m vae page` calls write.
"""

import base64
import gzip
import hashlib
import html
import json
import re
import tempfile
import urllib.parse
from pathlib import Path

from jinja2 import Environment  # as Gradio does
from markupsafe import Markup

from ui import explore
from ui.choices import CHOICES
from ui.explore import BOARD
from ui.theme import COMPONENTS, RUNTIME, reachable, variables
from ui.words import say, section
from vae import checkpoints
from vae.checkpoints import Checkpoint
from vae.errors import BadInput
from vae.measure import novelty
from vae.pictures import faces, images
from vae.publish import export
from vae.publish.folder import refuse_foreign
from vae.storage import atlases
from vae.storage.files import written_folder, written_whole

TEMPLATE = Path(__file__).with_name("site.html")
ROOT = Path(__file__).parents[1]
MODULES = reachable("site.js")
TABS = ("explore", "sample", "morph", "train")
MARK = "lp/site.js"  # what an older page in the folder is told by
OURS = [  # all that one may hold, as patterns
    *("index.html", "README.md", "sw.js", "lp/", "lp/*.js", "lp/*.bin", "lp/*.onnx", "lp/*.woff2", "lp/LICENSES.txt"),
    *("models/", "models/*/", "models/*/*.bin", "models/*/*.onnx", "models/*/view.json", "models/*/README.md"),
]
OFFLINE = "sw.js"
# What onnxruntime-web's files are called on a page: some servers know .mjs by no type, and modules need theirs.
LIBRARIES = {
    "library": ("ort.wasm.min.mjs", "ort.js"),
    "glue": ("ort-wasm-simd-threaded.mjs", "ort-glue.js"),
    "machine": ("ort-wasm-simd-threaded.bin", "ort-machine.bin"),
    "gif": ("gifenc.js", "gifenc.js"),
    "zip": ("client-zip.js", "client-zip.js"),
}
TYPES = {".js": "text/javascript", ".json": "application/json", ".woff2": "font/woff2"}


def write(sources: list[str], out: Path, single_file: bool = False) -> list[Path]:
    """Writes a page for these checkpoints (names, folders, hub ids) -> the files written.

    out: a folder, which then holds a whole static site; with single_file the one HTML file, for one checkpoint.
    BadInput where a checkpoint cannot be had, two have one name, or out cannot be written.
    """
    models = [checkpoints.load(source) for source in sources]
    names = [model.name for model in models]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadInput(f"Two of these models are called {twice[0]}; rename the folder of one.")
    if single_file:
        if len(models) != 1:
            raise BadInput(f"One file holds one model; {len(models)} were named.")
        with written_whole(out) as file:
            file.write(one_file(models[0]))
        return [out]
    refuse_foreign(out, OURS, lambda folder: (folder / MARK).is_file(), "an older page")
    files = _files(models)
    with written_folder(out) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return [out / name for name in files]


def one_file(model: Checkpoint) -> bytes:
    """A page for one model in one HTML file, which asks nobody for anything: it opens from a disk."""
    folder, own = _model(model)
    view = json.loads(own.pop(f"{folder}/view.json"))
    files = _shared([model]) | own | {"lp/model_worker.js": _worker()}
    return _page(
        [model], [folder], view, {name: _data_url(name, files[name]) for name in files}, is_single=True
    ).encode()


def _files(models: list[Checkpoint]) -> dict[str, bytes]:
    """Every file of a site, by its path."""
    shared, made = _shared(models), [_model(model) for model in models]
    folders = [folder for folder, _ in made]
    files = shared | {name: content for _, own in made for name, content in own.items()}
    addresses = {name: urllib.parse.quote(name) for name in files}
    needed = ["./", "index.html", *(addresses[name] for name in (*shared, *made[0][1]))]
    view = json.loads(files[f"{folders[0]}/view.json"])
    files["index.html"] = _page(models, folders, view, addresses, is_single=False).encode()
    files["README.md"] = _readme(models, folders).encode()
    files["lp/LICENSES.txt"] = _licences(models).encode()
    files |= {f"{folder}/README.md": model.card.encode() for model, folder in zip(models, folders, strict=True)}
    version = hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()[:16]
    worker = (COMPONENTS / "offline.js").read_text(encoding="utf-8")
    files[OFFLINE] = f"const VERSION = {json.dumps(version)}, NEEDED = {json.dumps(needed)};\n{worker}".encode()
    return files


def _shared(models: list[Checkpoint]) -> dict[str, bytes]:
    """What all models need: the modules, onnxruntime-web, the font and, for portraits, the face finder."""
    files = {f"lp/{name}": (COMPONENTS / name).read_bytes() for name in (*MODULES, "model_worker.js")}
    files |= {f"lp/{called}": (RUNTIME / name).read_bytes() for name, called in LIBRARIES.values()}
    files["lp/lexend.woff2"] = (COMPONENTS / "lexend.woff2").read_bytes()
    if _has_portraits(models):
        files["lp/blazeface.onnx"] = faces.FINDER.read_bytes()
    return files


def _has_portraits(models: list[Checkpoint]) -> bool:
    return any(model.recipe.framing == "portrait" for model in models)


def _licences(models: list[Checkpoint]) -> str:
    """Of all that is on the page and not of the models, whose cards tell theirs."""
    paths = [ROOT / "LICENSE", *sorted(RUNTIME.glob("*LICENSE.txt")), COMPONENTS / "lexend-OFL.txt"]
    paths += [faces.FINDER.with_name("blazeface-LICENSE.txt")] * _has_portraits(models)
    return "\n\n".join(f"{path.name}\n\n{path.read_text(encoding='utf-8')}" for path in paths)


def _model(model: Checkpoint) -> tuple[str, dict[str, bytes]]:
    """A folder, and what is in it: the model's view and graphs, its atlas, and its weights in two parts, what draws and the rest.

    They change together, so the folder's name changes with them: no browser can mix old files and new ones.
    """
    files = export.pieces(model)
    with tempfile.TemporaryDirectory() as made:
        if not files:
            export.export(model, Path(made) / "onnx")
            files = export.pieces(model, Path(made) / "onnx")
    packed = {"atlas.bin": atlases.packed(model.atlas)} | {name: files[name] for name in export.PARTS}
    if model.sketch is not None:
        packed["training.bin"] = (model.folder / novelty.FILE).read_bytes()
    files |= {name: gzip.compress(content, 9, mtime=0) for name, content in packed.items()}
    files["view.json"] = json.dumps(_view(model)).encode()
    digest = hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()[:12]
    folder = f"models/{model.name}-{digest}"
    return folder, {f"{folder}/{name}": content for name, content in files.items()}


def _view(model: Checkpoint) -> dict:
    """As the Explore tab gets it; a browser alone cannot search for a nearer latent."""
    return explore.view_of(model, model.name) | {"can_optimize": False}


def _page(models: list[Checkpoint], folders: list[str], first: dict, addresses: dict[str, str], is_single: bool) -> str:
    """index.html; folders: the models' own, addresses: where the page finds each file.

    first: the first model's view, which travels with the page, so that there is a picture at once.
    """
    words = {name: section(name) for name in ("page", "explore", "sample", "morph", "static")}
    words["explore"]["promise"] = say("static.promise")
    site = {
        "words": words,
        "models": [_entry(model, folder, addresses) for model, folder in zip(models, folders, strict=True)],
        "view": first,
        "worker": addresses["lp/model_worker.js"],
        "runtime": {name: addresses[f"lp/{LIBRARIES[name][1]}"] for name in ("library", "glue", "machine")},
        "finder": addresses.get("lp/blazeface.onnx"),
        "gif": addresses["lp/gifenc.js"],
        "zip": addresses["lp/client-zip.js"],
        "offline": None if is_single else OFFLINE,
        "choices": CHOICES,
    }
    # A module from a data URL has no folder to import its neighbours from: in one file they go by bare names.
    bare = {f"lp/{name}": _data_url(name, _with_bare_imports(COMPONENTS / name)) for name in MODULES}
    board = BOARD.format(picture=first["picture"], label=html.escape(say("explore.picture")))
    template = Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        words=words, tabs=TABS, start=addresses["lp/site.js"], style=Markup(_style(addresses["lp/lexend.woff2"])),
        entries=[
            {"id": model.name, "title": model.title, "thumb": images.data_url(explore.small(model.atlas.examples[0]))}
            for model in models
        ],
        board=Markup(board),
        modules=[addresses[f"lp/{name}"] for name in MODULES],
        licences=_licences(models) if is_single else "",  # in a comment, which no text ends: ">" is escaped
        imports=_json({"imports": bare}) if is_single else None,
        site=_json(site),
    )  # fmt: skip


def _entry(model: Checkpoint, folder: str, addresses: dict[str, str]) -> dict:
    """A model as site.js knows it; the encoder reads the decoder's part of the weights' file and the rest of it."""
    view = addresses.get(f"{folder}/view.json")  # one file has its only view already
    atlas, decoder, encoder, draws, reads = (
        addresses[f"{folder}/{name}"]
        for name in ("atlas.bin", "decoder.onnx", "encoder.onnx", "draws.bin", "reads.bin")
    )
    files = {"atlas": atlas, "decoder": decoder, "encoder": encoder, "draws": [draws], "reads": [draws, reads]}
    if model.sketch is not None:
        files["training"] = addresses[f"{folder}/training.bin"]
    return {"id": model.name, "title": model.title, "view": view, "files": files}


def _json(value: object) -> Markup:
    """For a script element, which no text may end."""
    return Markup(json.dumps(value).replace("<", "\\u003c"))


def _style(font: str) -> str:
    sheets = [path.read_text(encoding="utf-8") for path in sorted(COMPONENTS.glob("*.css"))]
    face = f'@font-face{{font-family:Lexend;src:url("{font}") format("woff2");font-weight:100 900;font-display:swap}}'
    light, dark = (variables(column) for column in (0, 1))
    return "\n".join([face, f":root{{color-scheme:light;{light}}}.dark{{color-scheme:dark;{dark}}}", *sheets])


def _with_bare_imports(path: Path) -> bytes:
    return re.sub(r'(from|import) "\./(\w+\.js)"', r'\1 "lp/\2"', path.read_text(encoding="utf-8")).encode()


def _worker() -> bytes:
    """The worker's script in one piece: where it comes from a data URL there is nothing beside it to import."""
    pieces = [(COMPONENTS / name).read_text(encoding="utf-8") for name in ("bytes.js", "model_worker.js")]
    return re.sub(r"^(import .*\n|export )", "", "".join(pieces), flags=re.MULTILINE).encode()


def _data_url(name: str, content: bytes) -> str:
    kind = TYPES.get(Path(name).suffix, "application/octet-stream")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _readme(models: list[Checkpoint], folders: list[str]) -> str:
    """The front matter of a static Space, and what is in the folder."""
    licences = {model.recipe.card.get("license", "other") for model in models}
    licence = licences.pop() if len(licences) == 1 else "other"
    rows = "\n".join(
        f"- {model.title}: `{folder}`, with its card" for model, folder in zip(models, folders, strict=True)
    )
    return (
        f"---\ntitle: {say('page.title')}\nemoji: 🎛️\ncolorFrom: yellow\ncolorTo: red\nsdk: static\npinned: false\n"
        f"license: {licence}\n---\n\n# {say('page.title')}\n\nA page of plain files: any static host serves it, and after the "
        f"first visit the models that were opened work offline. Each model has its own terms:\n\n{rows}\n"
    )
