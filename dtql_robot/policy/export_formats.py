"""Writing and loading an exported policy in each file format."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dtql_robot.errors import InputError
from dtql_robot.policy.deployed import DeployedPolicy
from dtql_robot.types import Array

METADATA = "dtql_robot.json"
OPSET = 18
Runner = Callable[[Sequence[Array]], Array]
"""Inputs in their order -> actions."""


def write_torchscript(module: DeployedPolicy, example: Sequence[Tensor], path: Path, about: dict[str, Any]) -> None:
    """Trace the module on the example inputs; `about` goes into the file."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, tuple(example))
        content = io.BytesIO()  # torch itself ends the process where the disk is full
        torch.jit.save(torch.jit.freeze(traced), content, _extra_files={METADATA: json.dumps(about)})
    path.write_bytes(content.getbuffer())


def load_torchscript(path: Path) -> Runner:
    """The file as a function."""
    module = torch.jit.load(str(path))

    def run(inputs: Sequence[Array]) -> Array:
        with torch.no_grad():
            return module(*(torch.from_numpy(x) for x in inputs)).numpy()

    return run


def write_onnx(module: DeployedPolicy, example: Sequence[Tensor], path: Path, about: dict[str, Any]) -> None:
    """Export the module with inputs shaped as the examples; `about` goes into the file.  InputError without onnx."""
    try:
        import onnx
        import onnxruntime  # noqa: F401 (runs the file before it is called done)
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"ONNX needs the package {error.name}: `pip install 'dtql-robot[onnx]'`.") from error
    batched = module.act in ("mean", "sample")
    axes = tuple({0: torch.export.Dim("batch", min=1, max=4096)} if batched else None for _ in example)
    samples = tuple(torch.cat([x, x]) if batched else x for x in example)  # a batch of one would be taken for constant
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # "no torchvision"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            samples,
            input_names=[f"in{i}" for i in range(len(samples))],
            output_names=["out"],
            dynamic_shapes=(axes,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _rename(model.graph, about["inputs"], ["actions"])
    onnx.helper.set_model_props(model, {METADATA: json.dumps(about)})
    path.write_bytes(model.SerializeToString())


def _rename(graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give an ONNX graph's inputs and outputs these names, and everything else names that none of them has.

    Names of observations are the user's: they could be those of a weight or of a step of the computation.
    """
    prefix = "_"
    while any(name.startswith(prefix) for name in (*inputs, *outputs)):
        prefix += "_"
    edges = [*zip((v.name for v in graph.input), inputs, strict=True)]
    new = dict([*edges, *zip((v.name for v in graph.output), outputs, strict=True)])

    def renamed(name: str) -> str:
        return new.get(name, prefix + name) if name else ""  # no name: an input that is left out

    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = renamed(value.name)
    for node in graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]


def load_onnx(path: Path) -> Runner:
    """The file as a function, in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(inputs: Sequence[Array]) -> Array:
        return session.run(None, dict(zip(names, inputs, strict=True)))[0]

    return run
