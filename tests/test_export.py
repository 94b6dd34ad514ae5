"""The ONNX graphs against the PyTorch model that they were made from, in onnxruntime."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from vae import checkpoints, cli
from vae.errors import BadInput
from vae.model import VAE, VAEConfig, to_tensor
from vae.publish.export import GRAPHS, decoder_end, export

PLAIN = {
    "Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "Sigmoid", "Clip", "Cast", "DepthToSpace", "SpaceToDepth", "Reshape",
    "InstanceNormalization", "Flatten", "Transpose", "Slice", "Split", "Pad", "Shape", "Concat", "Squeeze", "Unsqueeze",
    "Constant",
}  # fmt: skip
EXPORTED = [name for name in checkpoints.names() if (checkpoints.root() / name / "decoder.onnx").is_file()]


def opened(path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def assert_alike(folder, checkpoint) -> None:
    """The graphs in a folder draw and read what the model does, for one picture and for many."""
    z = checkpoint.atlas.prior("mixture", 9, seed=3)
    drawn = checkpoint.model.decode(z).detach().numpy()
    decoder, encoder = opened(folder / "decoder.onnx"), opened(folder / "encoder.onnx")
    for part in (slice(0, 1), slice(0, 9)):
        far = np.abs(decoder.run(["picture"], {"z": z[part].numpy()})[0] - drawn[part])
        assert far.mean() < 1 / 255
        assert far.max() < 3 / 255
    x = to_tensor(checkpoint.atlas.examples[:3])
    posterior = checkpoint.model.encode(x)
    for found, wanted in zip(
        encoder.run(["mean", "logvar"], {"x": x.numpy()}), (posterior.mean, posterior.logvar), strict=True
    ):
        np.testing.assert_allclose(found, wanted.detach().numpy(), atol=2e-3)


@pytest.mark.parametrize("name", EXPORTED)
def test_the_graphs_that_ship_belong_to_their_weights(name):
    assert_alike(checkpoints.root() / name, checkpoints.load(name))


def test_the_default_ships_exported():
    assert checkpoints.DEFAULT in EXPORTED


def test_an_export_is_small_plain_and_whole_in_a_folder_of_its_own(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    cli.main(["export", "digits", "--out", str(tmp_path / "new")])
    assert "decoder.onnx" in capsys.readouterr().out
    assert_alike(tmp_path / "new", checkpoints.load("digits"))
    for path in (tmp_path / "new").glob("*.onnx"):
        graph = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(path)
        assert path.stat().st_size < 100_000
        assert {node.op_type for node in graph.graph.node} <= PLAIN
        kinds = {tensor.type.tensor_type.elem_type for tensor in [*graph.graph.input, *graph.graph.output]}
        assert kinds == {onnx.TensorProto.FLOAT}
    for path in export(checkpoints.load("digits"), tmp_path / "again"):
        assert path.read_bytes() == (tmp_path / "new" / path.name).read_bytes()  # byte for byte


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_an_encoder_that_looks_again_is_exported_with_its_decoder(tmp_path, looks):
    """Their weights lie outside of both graphs, those of the decoder before all others, and none is there twice."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    folder = shutil.copytree(checkpoints.root() / "digits", tmp_path / "looking")
    model = VAE(VAEConfig(size=28, channels=1, latent=20, widths=(8, 16), stem=4, adaptive_norm=True, looks=looks))
    if model.look is not None:
        torch.nn.init.normal_(model.look.head.weight, std=0.05)  # at first it corrects nothing
    model.save_pretrained(folder)
    checkpoint = checkpoints.load(folder)
    export(checkpoint)
    assert_alike(folder, checkpoint)
    used = {}
    for name in GRAPHS:
        graph = onnx.load(folder / name, load_external_data=False).graph
        assert {node.op_type for node in graph.node} <= PLAIN
        outside = [tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
        used[name] = [{entry.key: entry.value for entry in tensor.external_data} for tensor in outside]
        assert len({row["offset"] for row in used[name]}) == len(used[name])
        assert max(np.prod(tensor.dims) for tensor in graph.initializer if tensor not in outside) < 100
    end = decoder_end(folder / "model.safetensors")
    assert max(int(row["offset"]) + int(row["length"]) for row in used["decoder.onnx"]) == end
    assert (min(int(row["offset"]) for row in used["encoder.onnx"]) < end) == bool(looks)


def test_until_a_picture_is_brought_the_new_networks_cost_no_more_than_the_style(tmp_path):
    """In the shape of the avatars: of an encoder that looks again the decoder's part of the file has nothing but a few names."""
    shape = VAEConfig(size=128, latent=64, widths=(48, 96, 128, 192, 256), adaptive_norm=False)
    ends, models = [], [VAE(shape), VAE(dataclasses.replace(shape, adaptive_norm=True, looks=1))]
    for number, model in enumerate(models):
        model.save_pretrained(tmp_path / str(number))
        ends.append(decoder_end(tmp_path / str(number) / "model.safetensors"))
    plain, styled = (sum(weights.numel() for weights in model.decoder.parameters()) for model in models)
    assert ends[1] - ends[0] < 2 * (styled - plain) + 10_000


def test_weights_of_another_model_are_not_taken_for_its_own(tmp_path):
    pytest.importorskip("onnxscript")
    (tmp_path / "model.safetensors").write_bytes((checkpoints.root() / "fashion" / "model.safetensors").read_bytes())
    with pytest.raises(BadInput, match="another model"):
        export(checkpoints.load("digits"), tmp_path)
    assert not list(tmp_path.glob("*.onnx"))


def test_all_graphs_are_written_or_none(tmp_path, monkeypatch):
    """The second graph finds no room: the first must not stay, and what stood there before must."""
    pytest.importorskip("onnxscript")
    made = []

    def graph(*_):
        if made:
            raise OSError(28, "No space left on device")
        made.append(True)
        return b"the first"

    folder = shutil.copytree(checkpoints.root() / "digits", tmp_path / "digits")
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    for place in (folder, tmp_path / "new"):
        made.clear()
        with monkeypatch.context() as patch, pytest.raises(BadInput, match="No space left"):
            patch.setattr("vae.publish.export._graph", graph)
            export(checkpoints.load("digits"), place)
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_checkpoint_keeps_all_it_has_when_graphs_come_beside_it(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("vae.publish.export._graph", lambda *_: b"a graph")
    folder = shutil.copytree(checkpoints.root() / "digits", tmp_path / "digits")
    before = {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    assert export(checkpoints.load(folder)) == [folder / "decoder.onnx", folder / "encoder.onnx"]
    after = {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    assert after == before | {Path("decoder.onnx"): b"a graph", Path("encoder.onnx"): b"a graph"}


def test_a_checkpoint_from_the_hub_goes_into_a_folder_of_its_own_and_never_into_the_cache(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("vae.publish.export._graph", lambda *_: b"a graph")
    snapshot, blobs = tmp_path / "cache" / "snapshot", tmp_path / "cache" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in checkpoints.FILES:
        shutil.copyfile(checkpoints.root() / "digits" / file, blobs / file)
        (snapshot / file).symlink_to(blobs / file)
    found = dataclasses.replace(checkpoints.load(snapshot), hub_id="me/smilers")
    monkeypatch.chdir(tmp_path)
    export(found)
    assert {path.name for path in (tmp_path / "smilers-onnx").iterdir()} == {*GRAPHS, "model.safetensors"}
    assert not (tmp_path / "smilers-onnx" / "model.safetensors").is_symlink()
    with pytest.raises(BadInput, match="something else"):
        export(found, snapshot)
    assert (
        {path.name for path in snapshot.iterdir()} == set(checkpoints.FILES) == {path.name for path in blobs.iterdir()}
    )


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path):
    pytest.importorskip("onnxscript")
    (tmp_path / "thesis.md").write_text("three years of work")
    with pytest.raises(BadInput, match=r"thesis\.md"):
        export(checkpoints.load("digits"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.md"]


def test_a_folder_that_cannot_be_written_gets_a_sentence(tmp_path):
    pytest.importorskip("onnxscript")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="cannot be written"):
        export(checkpoints.load("digits"), tmp_path / "file" / "in")
