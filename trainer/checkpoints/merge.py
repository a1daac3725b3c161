"""Several checkpoints of one architecture become one, through mergekit (our decision: the papers merge nothing)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from sentence_transformers import SentenceTransformer

from app.errors import BadInputError, ModelError
from app.moon.fingerprint import checkpoint_folder, model_fingerprint
from app.moon.load import load_module, moon_model, save_moon
from app.settings import read_settings

Method = Literal["linear", "ties", "dare_linear", "dare_ties"]
DENSITY = 0.5


def merge(
    checkpoints: Sequence[str],
    out: Path,
    method: Method = "linear",
    weights: Sequence[float] | None = None,
    base: str | None = None,
    density: float | None = None,
    seed: int = 0,
) -> None:
    """Write the merger of at least two checkpoints to ``out``, in the first one's dtype, computed in float32.

    ``linear`` is the mean of the weights (model soups, arXiv 2203.05482). The other methods add to ``base`` the mean of
    the changes against it: ``ties`` keeps the largest share ``density`` of each change and resolves signs (2306.01708),
    ``dare_linear`` and ``dare_ties`` keep a random share and rescale it (2311.03099). ``weights``, one per checkpoint,
    count in relation to each other; without them all count alike. Beside the model lie ``merge.json``, which says what
    was merged and how, and ``training.json``, which keeps the sources' records of training.

    Raises BadInputError for options that do not go together, ModelError for checkpoints that do not.
    """
    weights = [1.0] * len(checkpoints) if weights is None else list(weights)
    _check(checkpoints, out, method, weights, base, density)
    parameters: dict[str, Any] = {"weight": weights, "normalize": True}
    if base is not None:
        parameters["density"] = density = DENSITY if density is None else density
    dtype = load_module(checkpoints[0]).model.dtype
    merged: Any
    models = [moon_model(load_module(name, torch.float32)) for name in checkpoints]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            merged = SentenceTransformer.merge(
                models,
                method,
                base_model=None if base is None else moon_model(load_module(base, torch.float32)),
                parameters=parameters,
                out_dtype=dtype,
            )
        except ValueError as error:
            raise ModelError(
                f"{', '.join(checkpoints)} cannot be merged ({error}); merge runs that began from one base."
            ) from error
    save_moon(merged[0], out)
    record = {
        "method": method,
        "sources": [_source(name) | {"weight": weight} for name, weight in zip(checkpoints, weights, strict=True)],
        "base": None if base is None else _source(base),
        "density": density,
        "seed": seed if method.startswith("dare") else None,
        "dtype": str(dtype).removeprefix("torch."),
        "versions": {name: version(name) for name in ("mergekit", "sentence-transformers", "torch")},
    }
    (out / "merge.json").write_text(json.dumps(record, indent=2) + "\n")
    (out / "training.json").write_text(json.dumps(_training(checkpoints, base), indent=2) + "\n")


def _check(
    checkpoints: Sequence[str],
    out: Path,
    method: str,
    weights: Sequence[float],
    base: str | None,
    density: float | None,
) -> None:
    if method not in get_args(Method):
        raise BadInputError(f"method {method!r} is unknown; choose one of {', '.join(get_args(Method))}.")
    if len(checkpoints) < 2:
        raise BadInputError(f"{len(checkpoints)} checkpoint given; a merger needs at least two.")
    if len(weights) != len(checkpoints) or not all(0 < weight < float("inf") for weight in weights):
        raise BadInputError(
            f"weights {list(weights)} for {len(checkpoints)} checkpoints; give one positive number for each."
        )
    if method == "linear" and (base is not None or density is not None):
        raise BadInputError("linear uses neither base nor density; leave them out or choose ties or dare.")
    if method != "linear" and base is None:
        raise BadInputError(f"{method} merges changes against a base; name the checkpoint that training started from.")
    if density is not None and not 0 < density <= 1:
        raise BadInputError(f"density {density} is no share; give a number above 0, up to 1.")
    if base in checkpoints:
        raise BadInputError(f"{base} is both the base and one of the checkpoints; name it as the base only.")
    if any(checkpoint_folder(name).resolve() == out.resolve() for name in (*checkpoints, *filter(None, [base]))):
        raise BadInputError(f"{out} is one of the checkpoints to merge; write to another folder.")


def _source(name: str) -> dict[str, Any]:
    return {"checkpoint": name, "fingerprint": model_fingerprint(name, read_settings())}


def _training(checkpoints: Sequence[str], base: str | None) -> dict[str, Any]:
    """The record of training: all runs of all sources, one before the other, as an evaluation reads them.

    Merging itself trains on no split. It says so only if each checkpoint's own splits are known, so that the evaluation
    of the others warns.
    """
    records = [_record(name) for name in checkpoints]
    known = all("splits" in record for record in records)
    before: dict[str, Any] | None = None
    for record in reversed([*records, *([] if base is None else [_record(base)])]):
        before = _ending(record, before) if record else before
    return {"merged": list(checkpoints), **({"splits": {}} if known else {}), "before": before}


def _record(name: str) -> dict[str, Any]:
    file = checkpoint_folder(name) / "training.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _ending(record: dict[str, Any], last: dict[str, Any] | None) -> dict[str, Any]:
    """``record`` with ``last`` before its earliest run."""
    before = record.get("before")
    return {**record, "before": _ending(before, last) if before else last}
