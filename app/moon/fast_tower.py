"""The starter's vision tower as it runs on a CPU: compiled by OpenVINO if that is installed.

Our decision. The compiled tower is the same function within float noise, so indexes and queries made with and without
it agree. Its graph is written from the tower's own modules, which takes half a second; OpenVINO's converter takes six.
"""

from __future__ import annotations

import logging
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.moon.compiled import Compute, compiled, installed, operations
from app.moon.tower import EfficientNetLiteModel, InvertedResidual, SameConv2d

logger = logging.getLogger(__name__)


class FastTower(EfficientNetLiteModel):
    """A folded tower for inference on a CPU, in single precision."""

    _look: Compute | None

    @classmethod
    def of(cls, tower: EfficientNetLiteModel) -> FastTower:
        """Turns a tower into a fast one, in place: BatchNorm folded, and compiled if OpenVINO is installed."""
        tower.fold()
        fast: Any = tower
        fast.__class__ = cls
        if installed():
            fast._look = _compiled(tower)
            logger.info("vision tower: OpenVINO (%d threads)", torch.get_num_threads())
        else:
            fast._look = None
            logger.info("vision tower: torch (OpenVINO is not installed; with it pictures take less time)")
        return fast

    def look(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`EfficientNetLiteModel.look`."""
        if self._look is None:
            return super().look(pixel_values)
        maps, statistics, _ = self._look(pixel_values)
        return maps, statistics

    def lower(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`EfficientNetLiteModel.lower`; compiled, the whole tower is computed for it."""
        if self._look is None:
            return super().lower(pixel_values)
        _, statistics, below = self._look(pixel_values)
        return below, statistics[:, : self.lower_statistics_size]


def _compiled(tower: EfficientNetLiteModel) -> Compute:
    """What a folded tower sees, and what goes into its upper stages; for any batch and picture size."""
    ops = operations()
    pixels = ops.parameter([-1, 3, -1, -1], np.float32)
    node, seen = _node(ops, pixels, tower.stem), _statistics(ops, pixels)
    for number, block in enumerate(tower.blocks):
        node = _node(ops, node, block)
        if number in tower._looked_at:
            seen += _statistics(ops, node)
        if number == tower.lower_blocks - 1:
            below = node
    maps = _node(ops, node, tower.head)
    return compiled([maps, ops.concat(seen, 1), below], [pixels])


def _statistics(ops: Any, maps: Any) -> list[Any]:
    """Means and deviations of channels, as the tower's own: both (batch, channels)."""
    places = np.array([2, 3])
    centred = ops.subtract(maps, ops.reduce_mean(maps, places, True))
    count = ops.reduce_prod(ops.gather(ops.shape_of(maps), places, 0), 0)
    freedom = ops.convert(ops.subtract(count, np.int64(1)), "f32")
    variance = ops.divide(ops.reduce_sum(ops.multiply(centred, centred), places), freedom)
    return [ops.reduce_mean(maps, places), ops.sqrt(ops.add(variance, np.float32(1e-6)))]


def _node(ops: Any, node: Any, module: nn.Module) -> Any:
    """The OpenVINO node of a torch module that is applied to ``node``."""
    if isinstance(module, nn.Sequential):
        return reduce(lambda inner, part: _node(ops, inner, part), module, node)
    if isinstance(module, InvertedResidual):
        inner = _node(ops, node, module.layers)
        return ops.add(node, inner) if module.shortcut else inner
    if isinstance(module, nn.Conv2d):
        return _convolution(ops, node, module)
    if isinstance(module, nn.ReLU6):
        return ops.clamp(node, 0.0, 6.0)
    if isinstance(module, nn.Identity):
        return node
    raise TypeError(f"no OpenVINO node for {type(module).__name__}")


def _convolution(ops: Any, node: Any, module: nn.Conv2d) -> Any:
    weight, stride = module.weight.detach().contiguous().numpy(), list(module.stride)
    padding = "same_upper" if isinstance(module, SameConv2d) else "valid"
    if module.groups > 1:
        weight = weight.reshape(module.groups, -1, *weight.shape[1:])
        convolved = ops.group_convolution(node, weight, stride, [0, 0], [0, 0], [1, 1], padding)
    else:
        convolved = ops.convolution(node, weight, stride, [0, 0], [0, 0], [1, 1], padding)
    bias: Any = module.bias
    return ops.add(convolved, bias.detach().numpy().reshape(1, -1, 1, 1))
