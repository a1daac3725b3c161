"""EfficientNet-Lite as a Hugging Face vision model: the picture tower of the starter checkpoint.

Our decision (the paper's tower is private): 4.8 M parameters, no attention, fast on a CPU. Architecture of
EfficientNet-Lite2 (Tan & Le 2019; Lite variant without squeeze-excitation and with ReLU6): TensorFlow "same" padding,
BatchNorm epsilon 1e-3. The last feature map is average-pooled to ``grid`` x ``grid`` visual tokens. Beside them the
tower gives statistics of the pixels and of its stages, which know colour, texture and shape; those of the head's map,
which was made to tell ImageNet's classes apart, only help a small catalog to be learned by heart (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

# kernel, stride, expansion, output channels, repeats: EfficientNet-B0 scaled to width 1.1 and depth 1.2
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 3),
    (5, 2, 6, 48, 3),
    (3, 2, 6, 88, 4),
    (5, 1, 6, 120, 4),
    (5, 2, 6, 208, 5),
    (3, 1, 6, 352, 1),
)

LOOKED_AT = STAGES[2:]
"""Stages whose maps the statistics describe, beside the pixels."""
UPPER = 2
"""Last stages, which a trainer may tune with the head while all below stays as it is."""
COLOURS = 3


class EfficientNetLiteConfig(PretrainedConfig):
    """``image_size`` in pixels; the output has ``grid`` x ``grid`` visual tokens of ``hidden_size`` channels."""

    model_type = "moon_efficientnet_lite"

    def __init__(self, image_size: int = 224, grid: int = 4, hidden_size: int = 1280, **kwargs) -> None:
        self.image_size = image_size
        self.grid = grid
        self.hidden_size = hidden_size
        super().__init__(**kwargs)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, which is asymmetric for even sizes at stride 2."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[-2:])
        x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden, eps=1e-3), nn.ReLU6()]
        layers += [
            SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden, eps=1e-3),
            nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


@dataclass
class TowerOutput(BaseModelOutputWithPooling):
    """``statistics`` (batch, ``statistics_size``): mean and deviation of every channel of the looked-at maps."""

    statistics: Tensor | None = None


class EfficientNetLiteModel(PreTrainedModel):
    """Pixels (batch, 3, image_size, image_size), normalised with mean and std 0.5, to a map of visual tokens."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.stem = nn.Sequential(SameConv2d(COLOURS, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3), nn.ReLU6())
        blocks, channels = [], 32
        for kernel, stride, expansion, outputs, repeats in STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(channels, outputs, kernel, 1 if repeat else stride, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        ends = list(accumulate(repeats for *_, repeats in STAGES))
        self._looked_at = {end - 1 for end in ends[-len(LOOKED_AT) :]}
        self.lower_blocks = ends[-UPPER - 1]
        self.head = nn.Sequential(
            nn.Conv2d(channels, config.hidden_size, 1, bias=False),
            nn.BatchNorm2d(config.hidden_size, eps=1e-3),
            nn.ReLU6(),
        )
        self.post_init()
        self.eval()

    @property
    def statistics_size(self) -> int:
        return 2 * (COLOURS + sum(outputs for *_, outputs, _ in LOOKED_AT))

    @property
    def lower_channels(self) -> int:
        """Channels of the map that goes into the upper stages."""
        return STAGES[-UPPER - 1][3]

    @property
    def lower_statistics_size(self) -> int:
        return 2 * (COLOURS + sum(outputs for *_, outputs, _ in LOOKED_AT[:-UPPER]))

    def look(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """The unpooled feature map (batch, hidden_size, height / 32, width / 32) and the statistics."""
        maps, below = self.lower(pixel_values)
        maps, above = self.upper(maps)
        return maps, torch.cat([below, above], dim=1)

    def lower(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """The map that goes into the last ``UPPER`` stages, and the statistics up to there."""
        pixels = pixel_values.to(self.dtype, memory_format=torch.channels_last)
        maps, seen = self._through(self.stem(pixels), range(self.lower_blocks))
        return maps, torch.cat([map_statistics(pixels), *seen], dim=1)

    def upper(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """From that map the unpooled feature map, and the statistics from there on."""
        maps, seen = self._through(maps, range(self.lower_blocks, len(self.blocks)))
        return self.head(maps), torch.cat(seen, dim=1)

    def upper_parts(self) -> nn.ModuleList:
        """The modules of :meth:`upper`."""
        return nn.ModuleList([*list(self.blocks)[self.lower_blocks :], self.head])

    def _through(self, maps: Tensor, numbers: range) -> tuple[Tensor, list[Tensor]]:
        seen = []
        for number in numbers:
            maps = self.blocks[number](maps)
            if number in self._looked_at:
                seen.append(map_statistics(maps))
        return maps, seen

    def features(self, pixel_values: Tensor) -> Tensor:
        """The unpooled feature map alone."""
        return self.look(pixel_values)[0]

    def forward(self, pixel_values: Tensor, **kwargs) -> TowerOutput:
        """``last_hidden_state`` of shape (batch, hidden_size, grid, grid), ``pooler_output`` its mean over the map."""
        features, statistics = self.look(pixel_values)
        grid = functional.adaptive_avg_pool2d(features, self.config.grid)
        return TowerOutput(last_hidden_state=grid, pooler_output=features.mean(dim=(2, 3)), statistics=statistics)

    def fold(self) -> None:
        """Fold every BatchNorm into its convolution and lay weights out channels-last: the same function, faster.

        For inference only; a folded tower cannot be saved as a checkpoint.
        """
        for block in [module for module in self.modules() if isinstance(module, nn.Sequential)]:
            for place, (first, second) in enumerate(pairwise(list(block))):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    block[place], block[place + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
        tower: Any = self
        tower.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> EfficientNetLiteModel:
        """Stays in evaluation mode: BatchNorm statistics would drift even with frozen weights."""
        return super().train(False)


def map_statistics(maps: Tensor) -> Tensor:
    """Means and deviations of channels: (batch, channels, height, width) to (batch, 2 x channels)."""
    variance, mean = torch.var_mean(maps, dim=(2, 3))
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel)


def efficientnet_state(source: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published weights (``_conv_stem``, ``_blocks.N`` ...) to this module's names.

    The two models list the same tensors in the same order, classifier aside, so order is the mapping; shapes are
    checked by the strict load that follows.
    """
    values = [tensor for name, tensor in source.items() if not name.startswith("_fc.")]
    with torch.device("meta"):
        names = list(EfficientNetLiteModel(EfficientNetLiteConfig()).state_dict())
    if len(names) != len(values):
        raise ValueError(f"expected {len(names)} tensors of EfficientNet-Lite2, found {len(values)}")
    return dict(zip(names, values, strict=True))
