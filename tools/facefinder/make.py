"""Makes assets/blazeface.onnx, which vae/pictures/faces.py runs, from the face finder inside MediaPipe's Python package:

    pip download --no-deps --python-version 3.11 --platform manylinux_2_17_x86_64 --only-binary :all: mediapipe==0.10.14
    pip install tflite onnx
    python tools/facefinder/make.py mediapipe-0.10.14-*.whl assets/blazeface.onnx

BlazeFace's short-range model (Bazarevsky et al. 2019, Apache 2.0) is a TensorFlow Lite graph of plain operators, so each one is
said again in ONNX. The weights stay 16-bit floats, as they are there; the runtime widens them when it opens the file.
In: "image", float32 (1, 128, 128, 3) in [-1, 1]. Out: "boxes" (1, 896, 16) and "scores" (1, 896, 1), raw, an anchor a row.
The same wheel gives the same bytes.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import tflite
from onnx import helper, numpy_helper

INSIDE = "mediapipe/modules/face_detection/face_detection_short_range.tflite"
PLAIN = {"ADD": "Add", "RELU": "Relu"}
NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


class Maker:
    """Walks the graph once. Between the first and the last operators pictures are (N, C, H, W), as ONNX wants them."""

    def __init__(self, data: bytes):
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.graph = self.model.Subgraphs(0)
        self.nodes = [helper.make_node("Transpose", ["image"], [f"t{self.graph.Inputs(0)}"], perm=TO_NCHW)]
        self.weights: list[onnx.TensorProto] = []
        self.known: dict[int, np.ndarray] = {}

    def make(self) -> onnx.ModelProto:
        for index in range(self.graph.OperatorsLength()):
            self.add(self.graph.Operators(index))
        results = {16: "boxes", 1: "scores"}
        outputs = []
        for index in self.graph.OutputsAsNumpy():
            shape = self.shape(index)
            self.nodes.append(helper.make_node("Identity", [f"t{index}"], [results[shape[2]]]))
            outputs.append(helper.make_tensor_value_info(results[shape[2]], onnx.TensorProto.FLOAT, shape))
        image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, self.shape(self.graph.Inputs(0)))
        graph = helper.make_graph(self.nodes, "blazeface", [image], outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        model.doc_string = (
            "BlazeFace short range (Bazarevsky et al. 2019), (c) The MediaPipe Authors, Apache License 2.0"
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def add(self, operator: tflite.Operator) -> None:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        name = NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        first, *others = (int(index) for index in operator.InputsAsNumpy())
        out = int(operator.Outputs(0))
        if name == "DEQUANTIZE":
            self.known[out] = self.values(first)
        elif name in PLAIN:
            self.node(PLAIN[name], [f"t{index}" for index in (first, *others)], out)
        elif name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            is_deep = name == "DEPTHWISE_CONV_2D"
            options = self.options(operator, tflite.DepthwiseConv2DOptions if is_deep else tflite.Conv2DOptions)
            kernel = self.known[others[0]].transpose([3, 0, 1, 2] if is_deep else TO_NCHW)  # (out, in, height, width)
            names = [f"t{first}", self.weight(others[0], kernel), self.weight(others[1], self.known[others[1]])]
            self.node("Conv", names, out, group=len(kernel) if is_deep else 1, **self.window(options, kernel.shape[2:]))
        elif name == "MAX_POOL_2D":
            options = self.options(operator, tflite.Pool2DOptions)
            self.node(
                "MaxPool", [f"t{first}"], out, **self.window(options, (options.FilterHeight(), options.FilterWidth()))
            )
        elif name == "PAD":
            pads = self.values(others[0])[TO_NCHW].T.ravel()  # every beginning, then every end
            self.node("Pad", [f"t{first}", self.constant(f"pads{out}", pads)], out)
        elif name == "RESHAPE":
            self.nodes.append(helper.make_node("Transpose", [f"t{first}"], [f"rows{first}"], perm=TO_NHWC))
            self.node("Reshape", [f"rows{first}", self.constant(f"shape{out}", self.shape(out))], out)
        elif name == "CONCATENATION":
            self.node("Concat", [f"t{index}" for index in (first, *others)], out, axis=1)
        else:
            raise ValueError(f"No rule for the operator {name}.")

    def node(self, kind: str, inputs: list[str], out: int, **attributes: object) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [f"t{out}"], **attributes))

    def weight(self, index: int, values: np.ndarray) -> str:
        self.constant(f"half{index}", values)
        self.nodes.append(helper.make_node("Cast", [f"half{index}"], [f"w{index}"], to=onnx.TensorProto.FLOAT))
        return f"w{index}"

    def constant(self, name: str, values: np.ndarray | list[int]) -> str:
        values = np.asarray(values)
        values = np.ascontiguousarray(values if values.dtype == np.float16 else values.astype(np.int64))
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def values(self, index: int) -> np.ndarray:
        tensor = self.graph.Tensors(index)
        kind = {tflite.TensorType.FLOAT16: np.float16, tflite.TensorType.INT32: np.int32}[tensor.Type()]
        return self.model.Buffers(tensor.Buffer()).DataAsNumpy().view(kind).reshape(self.shape(index))

    def shape(self, index: int) -> list[int]:
        return [int(side) for side in self.graph.Tensors(index).ShapeAsNumpy()]

    @staticmethod
    def options(operator: tflite.Operator, kind: type) -> object:
        table, options = operator.BuiltinOptions(), kind()
        options.Init(table.Bytes, table.Pos)
        assert options.FusedActivationFunction() == tflite.ActivationFunctionType.NONE
        return options

    @staticmethod
    def window(options: object, sides: tuple[int, int]) -> dict[str, object]:
        padding = "SAME_UPPER" if options.Padding() == tflite.Padding.SAME else "VALID"
        return {"kernel_shape": sides, "strides": [options.StrideH(), options.StrideW()], "auto_pad": padding}


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    wheel, out = map(Path, sys.argv[1:])
    with zipfile.ZipFile(wheel) as package:
        model = Maker(package.read(INSIDE)).make()
    out.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
