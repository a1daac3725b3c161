"""The MOON model. The names below are imported on first use, so that fingerprints cost no torch import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from app.moon.fingerprint import checkpoint_folder, model_fingerprint, model_name

if TYPE_CHECKING:
    from app.moon.embedder import load_encoder

__all__ = ["checkpoint_folder", "load_encoder", "model_fingerprint", "model_name"]


def __getattr__(name: str) -> Any:
    if name == "load_encoder":
        # torch's idle threads would keep spinning on the cores that OpenVINO computes on; read when torch is loaded
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from app.moon.embedder import load_encoder

        return load_encoder
    raise AttributeError(name)
