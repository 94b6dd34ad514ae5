"""The command line does what its help says: the verbs on a model trained by the first of them, and a sentence for bad input."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ui import static
from vae import checkpoints
from vae.__main__ import write_page
from vae.cli import main
from vae.measure import effects, evaluation, reader
from vae.measure.best import best_of
from vae.pictures import sets
from vae.publish.folder import refuse_foreign
from vae.storage import files

RECIPE = """
data = "digits-small"
framing = "digit"
steps = 30
batch = 32
[model]
size = 28
channels = 1
latent = 3
widths = [8, 16]
stem = 4
likelihood = "bernoulli"
[card]
title = "Tiny"
"""


@pytest.fixture(scope="module", autouse=True)
def little_to_compare_and_to_read():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "COMPARED", 100)
        patch.setattr(reader, "EPOCHS", 0)
        patch.setattr(reader, "STEPS", 20)
        patch.setattr(effects, "LEAST_STEPS", 20)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "recipe.toml").write_text(RECIPE)
    main(["train", str(folder / "recipe.toml"), "--out", str(folder / "tiny"), "--batch", "16", "--latent", "4"])
    return folder / "tiny"


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A folder of twenty small grey pictures."""
    folder = tmp_path_factory.mktemp("grey")
    for place in range(20):
        Image.fromarray(np.full((16, 16), 10 * place, np.uint8)).save(folder / f"{place}.png")
    return folder


@pytest.fixture
def digit(tmp_path):
    """A seven, drawn dark on light and large, as a visitor would."""
    canvas = np.full((280, 280), 255, np.uint8)
    canvas[60:80, 80:200] = 0
    for i in range(140):
        canvas[80 + i, 180 - i // 2 : 200 - i // 2] = 0
    Image.fromarray(canvas).save(tmp_path / "seven.png")
    return tmp_path / "seven.png"


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, str)
    assert "Traceback" not in ended.value.code
    return ended.value.code


def test_train_publishes_a_whole_checkpoint_with_its_recipe_and_card(trained):
    assert {path.name for path in trained.parent.iterdir()} == {"tiny", "recipe.toml", "tiny.run", "tiny.metrics.csv"}
    recipe = (trained / "recipe.toml").read_text()
    assert "batch = 16" in recipe
    assert "latent = 4" in recipe
    card = (trained / "README.md").read_text()
    assert card.startswith("---\n")
    for name in ("loss", "kl", "reconstructions", "samples", "traversals"):
        assert f"figures/{name}.webp" in card
        assert Image.open(trained / "figures" / f"{name}.webp").format == "WEBP"


def test_eight_small_pictures_and_a_strange_table_train_as_well(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (8, 9, 12, 3), dtype=np.uint8)
    for place, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{place}.png")
    rows = [f"{place}.png,{place % 2},{'' if place == 3 else place / 2},1" for place in range(8)]
    (tmp_path / "attributes.csv").write_text("\n".join(["file,rare,gaps,constant", *rows, "nowhere.png,1,1,1"]))
    recipe = (
        RECIPE.replace("digits-small", "eight").replace("channels = 1", "channels = 3").replace("bernoulli", "gaussian")
    )
    (tmp_path / "recipe.toml").write_text(f"sharpen = 0.3\n{recipe}")
    handler = signal.getsignal(signal.SIGINT)
    main(["train", str(tmp_path / "recipe.toml"), "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert signal.getsignal(signal.SIGINT) == handler
    assert "No direction was made of rare (only 3 pictures on one side), gaps (gaps in 1 of 7 pictures), constant (the same" in (
        tmp_path / "out" / "README.md"
    ).read_text()  # fmt: skip


def test_sample_follows_its_seed_and_its_out(trained, tmp_path):
    command = ["sample", str(trained), "--count", "5", "--seed", "3"]
    for out in ("a.npy", "b.npy", "grid.png", "film.gif", "folder"):
        main([*command, "--out", str(tmp_path / out)])
    a, b = np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")
    assert a.shape == (5, 28, 28, 1)
    assert a.dtype == np.uint8
    assert np.array_equal(a, b)
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [f"{i:05}.png" for i in range(5)]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "folder" / "00002.png")), a[2, ..., 0])
    main(["sample", str(trained), "--count", "5", "--seed", "4", "--prior", "normal", "--out", str(tmp_path / "c.npy")])
    assert not np.array_equal(np.load(tmp_path / "c.npy"), a)


def test_sample_keeps_the_best_near_a_picture_and_says_what_is_new(trained, digit, tmp_path, capsys):
    checkpoint = checkpoints.load(trained)
    command = ["sample", str(trained), "--count", "4", "--seed", "3", "--best-of", "50", "--difference", "0.8"]
    main([*command, "--out", str(tmp_path / "best.npy")])
    z = checkpoint.atlas.prior("mixture", 50, 3)
    rows, _ = best_of(checkpoint.atlas, z, 4, 0.8)
    assert np.array_equal(np.load(tmp_path / "best.npy"), checkpoint.decode(z[rows]))
    main(
        [
            "sample",
            str(trained),
            "--count",
            "2",
            "--around",
            str(digit),
            "--spread",
            "0",
            "--out",
            str(tmp_path / "near.npy"),
        ]
    )
    main(["reconstruct", str(trained), str(digit), "--out", str(tmp_path / "again.npy")])
    near, again = (np.load(tmp_path / f"{name}.npy").astype(int) for name in ("near", "again"))
    assert np.abs(near - again).max() <= 1
    capsys.readouterr()
    main([*command, "--nearest", "--data", str(tmp_path), "--out", str(tmp_path / "seen.png")])
    told = capsys.readouterr().out
    assert [line[:6] for line in told.splitlines()[:4]] == [
        f"{row:05d}:" for row in range(4)
    ] and "pictures it never saw" in told
    with Image.open(tmp_path / "seen-nearest.png") as sheet:
        assert sheet.height == 4 * 28 and sheet.width in (28 * 4, 28 * 7)


def test_reconstruct_keeps_the_order_of_sorted_names(trained, digit, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    picture = Image.open(digit)
    picture.save(folder / "b.png")
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "a.png")
    main(["reconstruct", str(trained), str(folder), "--out", str(tmp_path / "two.npy")])
    main(["reconstruct", str(trained), str(folder / "b.png"), "--out", str(tmp_path / "one.npy")])
    two, one = np.load(tmp_path / "two.npy"), np.load(tmp_path / "one.npy")
    assert two.shape == (2, 28, 28, 1)
    assert np.abs(two[1].astype(int) - one[0]).max() <= 1


@pytest.mark.parametrize("path", ["line", "arc"])
def test_morph_begins_and_ends_at_the_reconstructions(trained, digit, tmp_path, path):
    other = tmp_path / "other.png"
    Image.open(digit).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    main(
        [
            "morph",
            str(trained),
            str(digit),
            str(other),
            "--steps",
            "5",
            "--path",
            path,
            "--out",
            str(tmp_path / "m.npy"),
        ]
    )
    main(["reconstruct", str(trained), str(digit), "--out", str(tmp_path / "r.npy")])
    film = np.load(tmp_path / "m.npy")
    assert film.shape == (5, 28, 28, 1)
    assert np.abs(film[0].astype(int) - np.load(tmp_path / "r.npy")[0]).max() <= 1


def test_other_sets_that_are_not_there_are_refused_before_the_first_step(trained, tmp_path, capsys):
    flags = ("--others", "lost", "--data", tmp_path, "--out", tmp_path / "x")
    assert "lost.zip" in refused(capsys, "train", trained / "recipe.toml", *flags)
    assert not (tmp_path / "x.run").exists()


def test_evaluate_prints_a_table_and_json(trained, capsys):
    main(["evaluate", str(trained), "--json"])
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["pictures"] == len(sets.load("digits-small", size=28, channels=1)[1])
    assert numbers["elbo"] == pytest.approx(-numbers["reconstruction"] - numbers["kl"])
    assert 0 < numbers["distances"]["reconstructions of those"]["ssim"] <= 1
    main(["evaluate", str(trained)])
    table = capsys.readouterr().out
    assert "nats per picture" in table
    assert "higher is better" in table
    assert "| samples, mixture prior |" in table


def test_bad_input_gets_a_sentence_and_leaves_nothing(trained, digit, tmp_path, capsys):
    out = tmp_path / "out.png"
    cases = {
        "from 1 to": ["sample", trained, "--count", 0, "--out", out],
        "temperature": ["sample", trained, "--temperature", "nan", "--out", out],
        "seed": ["sample", trained, "--seed", -1, "--out", out],
        "--best-of": ["sample", trained, "--count", 9, "--best-of", 8, "--out", out],
        "different": ["sample", trained, "--count", 2, "--best-of", 8, "--difference", "nan", "--out", out],
        "spread": ["sample", trained, "--around", digit, "--spread", 2, "--out", out],
        "no trait": ["sample", trained, "--only", "wings", "--out", out],
        "no checkpoint": ["sample", "nobody", "--out", out],
        "Nothing is written as '.bmp'": ["sample", "nobody", "--out", "x.bmp"],  # before anything else is done
        "from 2 to": ["morph", trained, digit, digit, "--steps", 1, "--out", out],
        "nothing at": ["reconstruct", trained, tmp_path / "gone", "--out", out],
        "gone.toml is missing": ["train", tmp_path / "gone.toml", "--out", tmp_path / "x"],
        "something else": ["train", trained / "recipe.toml", "--out", tmp_path],
        "latent": ["train", trained / "recipe.toml", "--out", tmp_path / "x", "--latent", 0],
        "device": ["sample", trained, "--device", "abacus", "--out", out],
    }
    for word, arguments in cases.items():
        assert word in refused(capsys, *arguments), word
    assert {path.name for path in tmp_path.iterdir()} == {"seven.png"}


def learning(trained, out) -> subprocess.Popen:
    """A training in a process of its own that has begun to learn, and would go on for hours."""
    command = [
        sys.executable,
        "-m",
        "vae",
        "train",
        str(trained / "recipe.toml"),
        "--out",
        str(out),
        "--steps",
        "100000",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    too_long = threading.Timer(120, running.kill)
    too_long.start()
    text = ""
    while "step" not in text:
        letter = running.stderr.read(1)
        assert letter, f"it ended before its first step: {text}"
        text += letter
    too_long.cancel()
    return running


def test_an_interrupted_run_is_kept_and_taken_up_again(trained, tmp_path, capsys):
    out = tmp_path / "paused"
    running = learning(trained, out)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert "--resume" in error
    assert not out.exists()
    assert (tmp_path / "paused.run").exists()
    assert "add --resume" in refused(capsys, *running.args[3:])


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_finished_run_is_made_longer_and_its_figures_go_on(grey, tmp_path, capsys, monkeypatch):
    command = ["train", str(grey), "--out", str(tmp_path / "model"), "--batch", "16"]
    main([*command, "--steps", "4"])
    assert "held out" in capsys.readouterr().err
    assert "add --force, or --resume" in refused(capsys, *command, "--steps", 8)
    assert "batch is 8, was 16" in refused(capsys, *command, "--steps", 8, "--resume", "--batch", 8)
    main([*command, "--steps", "8", "--resume"])
    assert "steps = 8" in (tmp_path / "model" / "recipe.toml").read_text()
    found = rows(tmp_path / "model.metrics.csv")
    steps = [float(row["step"]) for row in found]
    assert steps == sorted(steps) and steps[-1] == 8 and 4 in steps
    assert float(found[-1]["heldout"]) and float(found[-1]["reconstruction"])
    (tmp_path / "model.metrics.csv").write_text("step,seconds\n1,999\n")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: pytest.fail("asked"))
    main([*command, "--steps", "2", "--force"])
    found = rows(tmp_path / "model.metrics.csv")
    assert float(found[-1]["step"]) == 2
    assert all(float(row["seconds"]) < 999 for row in found)  # nothing of the run that went


def test_pictures_without_a_recipe_make_a_model(tmp_path, capsys):
    rng, folder = np.random.default_rng(0), tmp_path / "garden"
    folder.mkdir()
    for place, ending in enumerate(["png", "jpg", "webp", "bmp", "tiff", "gif"] * 5):
        picture = rng.integers(0, 256, (40 + place, 60, 3), dtype=np.uint8)
        Image.fromarray(picture if place % 7 else picture[..., 0]).save(folder / f"{place:02}.{ending}")
    (folder / "07.jpg").write_bytes(b"broken")
    rows = "\n".join(
        f"{place};{f'{place:02}.' + ending};{place % 2}" for place, ending in enumerate(["png", "jpg"] * 15)
    )
    (folder / "attributes.csv").write_bytes(f"\ufeff;File;sunny\n{rows}".encode())
    out = tmp_path / "model"
    main(["train", str(folder), "--out", str(out), "--steps", "2", "--title", "A garden", "--latent", "3"])
    told = capsys.readouterr().err
    assert "29 pictures read" in told and "Left out: 07.jpg" in told and "3 are held out" in told
    checkpoint = checkpoints.load(out)
    assert checkpoint.title == "A garden"
    assert vars(checkpoint.form) == {"framing": "square", "size": 32, "channels": 3}  # the shorter sides are near 50
    assert checkpoint.model.config.latent == 3
    card = checkpoint.card
    assert 'license: "other"' in card and "29 pictures of garden" in card and "26 pictures to learn from" in card


def test_grey_pictures_without_a_recipe_make_a_grey_model(grey, tmp_path):
    main(["train", str(grey), "--out", str(tmp_path / "model"), "--steps", "1", "--license", "cc0-1.0"])
    model = checkpoints.load(tmp_path / "model")
    assert (model.form.size, model.form.channels) == (16, 1)
    assert 'license: "cc0-1.0"' in model.card


def test_two_runs_at_once_with_the_same_out_are_one_and_a_sentence(trained, tmp_path, capsys):
    out = tmp_path / "both"
    running = learning(trained, out)
    assert "Another process" in refused(capsys, "train", trained / "recipe.toml", "--out", out, "--steps", 1)
    running.kill()
    running.communicate()
    with files.claimed(out.with_name("both.training")):
        pass  # a run that was killed is in nobody's way, and leaves no broken checkpoint
    assert {path.name for path in tmp_path.iterdir()} <= {"both.metrics.csv"}


def test_a_finished_checkpoint_is_replaced_only_by_force_or_a_yes(trained, grey, tmp_path, capsys, monkeypatch):
    copy = shutil.copytree(trained, tmp_path / "tiny")
    again = ["train", str(grey), "--out", str(copy), "--steps", "1"]
    before = (copy / "model.safetensors").read_bytes()
    assert "add --force" in refused(capsys, *again)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert "add --force" in refused(capsys, *again)
    assert (copy / "model.safetensors").read_bytes() == before
    monkeypatch.setattr("builtins.input", lambda question: "Y")
    main(again)
    assert (copy / "model.safetensors").read_bytes() != before


def test_a_recipe_with_a_bom_is_read(trained, tmp_path, capsys):
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbf" + (trained / "recipe.toml").read_bytes())
    assert "latent is 0" in refused(capsys, "train", tmp_path / "bom.toml", "--out", tmp_path / "x", "--latent", 0)


@pytest.mark.parametrize("verb", ["train", "sample", "reconstruct", "morph", "evaluate"])
def test_help_has_an_example(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert f"python -m vae {verb}" in capsys.readouterr().out


def test_a_page_is_written_or_a_sentence_says_why_not(tmp_path, capsys):
    """One checkpoint's folder with all it needs; nothing is left where it cannot be written."""
    name = checkpoints.names()[0]
    main(["page", name, "--out", str(tmp_path / "site")], write_page)
    assert "files" in capsys.readouterr().out
    assert (tmp_path / "site" / "index.html").is_file()
    refuse_foreign(tmp_path / "site", static.OURS, lambda folder: (folder / static.MARK).is_file())  # its own may go
    (tmp_path / "site" / "lp" / "notes.txt").write_text("mine")
    for arguments, sentence in {
        ("nobody", "--out", str(tmp_path / "x")): "no checkpoint",
        (name, name, "--out", str(tmp_path / "x")): "Two of these models",
        (name, "digits", "--single-file", "--out", str(tmp_path / "x")): "One file holds one model",
        (name, "--out", str(tmp_path)): "something else",
        (name, "--out", str(tmp_path / "site")): "lp/notes.txt",
        (name, "--single-file", "--out", str(tmp_path / "site")): "cannot be written",
    }.items():
        with pytest.raises(SystemExit, match=sentence):
            main(["page", *arguments], write_page)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
