"""Named starting points of a training run: one command each. Free of heavy imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.moon.config import MoonConfig

SHARED_FFN = r"\.mlp\.shared\.(?!.*lora_)"
"""What low-rank experts share; LoRA updates of it are trained."""


@dataclass(frozen=True)
class Stage:
    """A part of a run: the starter's vision tower (``tower``), its box head (``boxes``), the looks of pictures
    (``looks``), the skip path alone (``skip``), or the model (``all``).

    ``steps`` None stands for the epochs asked for, 0 leaves the stage out; ``batch`` counts triplets per process, for
    tower, boxes and looks photos.
    """

    name: Literal["tower", "boxes", "looks", "skip", "all"]
    steps: int | None
    batch: int
    lr: float


@dataclass(frozen=True)
class Preset:
    """A base model and how it is trained.

    ``base`` None stands for the configured MOON checkpoint. ``moon`` is how a base that is no MOON checkpoint yet is
    upcycled. ``rates`` are learning rates relative to the stage's, by regular expressions over parameter names;
    ``frozen`` are such expressions for what is never trained. ``mixture`` weighs image, text and image+text queries
    (paper: 12 : 3 : 2). ``past_batches`` is the k of the temporal negatives (2 in
    the paper), which need an encoder that changes slowly. ``augment`` allows cuts, mirrored pictures and typos.
    """

    base: str | None
    moon: MoonConfig
    stages: tuple[Stage, ...]
    lora_rank: int
    rates: Mapping[str, float] = field(default_factory=dict)
    frozen: tuple[str, ...] = (SHARED_FFN,)
    mixture: str = "12:3:2"
    past_batches: int = 2
    augment: bool = False
    about: str = ""


STARTER = MoonConfig(
    expert_rank=16,
    attention="bidirectional",
    pooling="segments",
    skip=True,
    picture_dims=448,
    picture_dropout=0.1,
    box_head=True,
)
_LARGE = MoonConfig(expert_rank=16, moe_layers="upper_half_alternate")

PRESETS: dict[str, Preset] = {
    "starter": Preset(
        base=None,
        moon=STARTER,
        stages=(
            Stage("tower", 200, 40, 2e-4),
            Stage("boxes", 1000, 64, 1e-3),
            Stage("looks", 300, 192, 1e-3),
            Stage("skip", 160, 192, 5e-4),
            Stage("all", 80, 32, 1e-4),
        ),
        lora_rank=0,
        rates={
            r"moon_skip\.gate": 10.0,
            r"embed_tokens|moon_skip\.linear|pictures\.looks": 0.1,
            r"self_attn|norm": 0.5,
            r"log_temperature": 10.0,
            r"pictures\.(directions|strength)": 4.0,
        },
        frozen=(SHARED_FFN, r"projector\.linear_1"),
        mixture="4:8:5",
        past_batches=0,
        augment=True,
        about="the small model that runs on a laptop",
    ),
    "qwen2.5-vl-3b": Preset(
        base="Qwen/Qwen2.5-VL-3B-Instruct",
        moon=_LARGE,
        stages=(Stage("all", None, 16, 1e-4),),
        lora_rank=16,
        about="the paper's class of model",
    ),
    "qwen3-vl-2b": Preset(
        base="Qwen/Qwen3-VL-2B-Instruct",
        moon=_LARGE,
        stages=(Stage("all", None, 16, 1e-4),),
        lora_rank=16,
        about="smaller and newer",
    ),
    "qwen3-vl-embedding-2b": Preset(
        base="Qwen/Qwen3-VL-Embedding-2B",
        moon=MoonConfig(expert_rank=16, moe_layers="upper_half_alternate", pooling="last"),
        stages=(Stage("all", None, 16, 5e-5),),
        lora_rank=16,
        about="starts from an embedding model, the strongest open start today",
    ),
}
