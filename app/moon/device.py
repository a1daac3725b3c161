"""Which device computes, in which numbers, and why."""

from __future__ import annotations

import os

import torch


def choose_device(wanted: str) -> tuple[str, str]:
    """The device to compute on, and why; ``auto`` takes a GPU where there is one, each process of a launch its own."""
    if wanted != "auto":
        return wanted, "chosen by MOON_DEVICE"
    if torch.cuda.is_available():
        place, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        return f"cuda:{place % gpus}", f"{torch.cuda.get_device_name(place % gpus)}, one of {gpus}"
    return ("mps", "an Apple GPU") if torch.backends.mps.is_available() else ("cpu", "no GPU was found")


def choose_dtype(device: str) -> tuple[torch.dtype, str]:
    """The numbers to compute in, and why (our decision)."""
    if not device.startswith("cuda") or not torch.cuda.is_available():
        return torch.float32, "exact, and as fast here"
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float32, "this GPU has no bfloat16"
    return torch.bfloat16, "half the memory, full speed"
