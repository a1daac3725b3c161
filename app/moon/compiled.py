"""Graphs of modules that OpenVINO computes on a CPU; an optional dependency (extra ``cpu``)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

Compute = Callable[..., list[Tensor]]
"""Tensors for a graph's parameters, in their order, to its results."""


def installed() -> bool:
    """Whether OpenVINO is there."""
    return find_spec("openvino") is not None


def operations() -> Any:
    """The operations that graphs are written with."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report every start
    from openvino import opset13

    return opset13


def compiled(results: Sequence[Any], parameters: Sequence[Any]) -> Compute:
    """A graph in single precision with torch's number of threads; callers on other threads wait."""
    import openvino

    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.compile_model(openvino.Model(list(results), list(parameters)), "CPU", threads)
    one_at_a_time = threading.Lock()

    def compute(*tensors: Tensor) -> list[Tensor]:
        with one_at_a_time:
            found = model([tensor.contiguous().numpy() for tensor in tensors])
        return [torch.from_numpy(found[place]) for place in range(len(results))]

    return compute
