"""One training step with the decoder layers sharded over processes (FSDP 2), against the same step in one process."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from app.moon.experts import decoder_layers
from app.moon.load import load_module, moon_model
from app.moon.prompt import model_input
from trainer.losses.moon import MoonLoss

TEXTS = ("red chair", "blue table", "old lamp", "green sofa")


def gradients(folder: str, rank: int, world: int) -> dict[str, torch.Tensor]:
    """Gradients of the mean loss over all processes' queries, by parameter name."""
    module = load_module(folder, torch.float32).train()
    for name, parameter in module.model.named_parameters():
        parameter.requires_grad_("language_model" in name)
    model = moon_model(module)
    if world > 1:
        mesh = init_device_mesh("cpu", (world,))
        for layer in decoder_layers(module.model):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    own = TEXTS[rank * len(TEXTS) // world : (rank + 1) * len(TEXTS) // world]
    columns = [
        module.tokens([model_input([], f"<|{segment}|> {text}<|/{segment}|>") for text in own])
        for segment in ("title", "category", "attribute")
    ]
    loss = MoonLoss(model, margin=None, past_batches=0)
    loss(columns, torch.zeros(len(own), 3, 1, dtype=torch.long)).backward()
    found = {}
    for name, parameter in module.model.named_parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            found[name] = gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
    return found


if __name__ == "__main__":
    dist.init_process_group("gloo")
    sharded = gradients(sys.argv[1], dist.get_rank(), dist.get_world_size())
    dist.barrier()
    if dist.get_rank() == 0:
        dist.destroy_process_group()
        for name, expected in gradients(sys.argv[1], 0, 1).items():
            torch.testing.assert_close(
                sharded[name], expected, atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
            )
        assert len(sharded) > 10
        sys.stdout.write(f"{len(sharded)} gradients agree\n")
