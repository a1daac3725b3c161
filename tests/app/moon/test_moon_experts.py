"""Guided experts in every architecture: upcycling, routing, gradients, load balancing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import picture, stir, upcycle
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel

from app.moon.config import MoonConfig
from app.moon.experts import FullExperts, GuidedExperts, LowRankExperts, decoder_layers
from app.moon.prompt import label_text, model_input, product_text, query_text
from app.moon.segments import TokenType
from app.moon.transformer import MoonTransformer
from app.schema import Product

CHAIR = product_text(
    Product(id="1", title="red oak chair", category=["Furniture", "Chairs"], attributes={"color": ["red", "black"]})
)
INPUTS = [model_input([picture(1)], CHAIR), model_input([], query_text("green lamp")), model_input([picture(2)], "")]
RANKS = pytest.mark.parametrize("rank", [None, 4], ids=["full", "low-rank"])
ATTENTION = pytest.mark.parametrize("attention", ["causal", "bidirectional"])


def outputs(module: MoonTransformer, inputs: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
    """Token embeddings and the attention mask before pooling."""
    batch = module.tokens(inputs)
    mask = batch["attention_mask"].bool()
    return module(batch)["token_embeddings"], mask


def first_experts(module: MoonTransformer) -> Any:
    return decoder_layers(module.model)[0].mlp


@RANKS
@ATTENTION
def test_upcycled_output_equals_the_base_models(base: Path, rank: int | None, attention: str):
    module = upcycle(base, expert_rank=rank, attention=attention)
    batch = module.tokens(INPUTS)
    model = AutoModel.from_pretrained(base).eval()
    model.resize_token_embeddings(len(module.tokenizer))
    model.get_input_embeddings().load_state_dict(module.model.get_input_embeddings().state_dict())
    if attention == "bidirectional":

        def open_mask(_: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            keys = batch["attention_mask"].bool()
            return args, {**kwargs, "attention_mask": (keys[:, None] & torch.ones_like(keys)[..., None])[:, None]}

        model.get_decoder().register_forward_pre_hook(open_mask, with_kwargs=True)
    names = set(batch) - {"modality", "num_images_per_sample"}
    with torch.inference_mode():
        expected = model(**{name: batch[name] for name in names}).last_hidden_state
        found, mask = outputs(module, INPUTS)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=0)


@ATTENTION
def test_later_words_reach_earlier_tokens_only_with_bidirectional_attention(base: Path, attention: str):
    module = upcycle(base, attention=attention)
    with torch.inference_mode():
        a, _ = outputs(module, [model_input([], query_text("red chair"))])
        b, _ = outputs(module, [model_input([], query_text("red sofa"))])
    assert torch.allclose(a[0, 0], b[0, 0], atol=1e-6) == (attention == "causal")


def expected_rows(module: MoonTransformer, ids: Tensor, segment: str) -> list[int]:
    """Flat positions between a segment's markers, read token by token."""
    opening, closing = module.tokenizer.convert_tokens_to_ids([f"<|{segment}|>", f"<|/{segment}|>"])
    rows, inside = [], False
    for position, token in enumerate(ids.flatten().tolist()):
        inside = (inside and token != closing) or token == opening
        if inside and token != opening:
            rows.append(position)
    return rows


def seen_rows(
    module: MoonTransformer, inputs: list[dict[str, Any]]
) -> tuple[Tensor, dict[int, Tensor], Tensor, Tensor]:
    """Hidden states into the first layer's experts, the rows each expert received, the token ids, the real tokens."""
    experts, seen, hidden = first_experts(module), {}, []
    hooks = [experts.register_forward_pre_hook(lambda _, args: hidden.append(args[0].flatten(0, 1)))]
    if isinstance(experts, FullExperts):
        for number, expert in enumerate(experts.experts):
            hooks.append(expert.register_forward_pre_hook(lambda _, args, n=number: seen.update({n: args[0]})))
    else:
        hooks.append(experts.gate.register_forward_pre_hook(lambda _, args: seen.update({args[0]: args[1]})))
    batch = module.tokens(inputs)
    ids, real = batch["input_ids"], batch["attention_mask"].bool().flatten()
    with torch.inference_mode():
        module(batch)
    for hook in hooks:
        hook.remove()
    return hidden[0], seen, ids, real


@RANKS
def test_reserved_experts_receive_exactly_their_segment_and_free_experts_every_real_token(base: Path, rank: int | None):
    module = stir(upcycle(base, expert_rank=rank))
    hidden, seen, ids, real = seen_rows(module, INPUTS)
    assert not real.all()
    category, attribute = (expected_rows(module, ids, name) for name in ("category", "attribute"))
    assert category
    assert attribute
    assert set(seen) == {0, 1, 2, 3}
    for free in (0, 1):
        assert torch.equal(seen[free], hidden[real])
    assert torch.equal(seen[2], hidden[category])
    assert torch.equal(seen[3], hidden[attribute])


@RANKS
def test_top_k_picks_among_free_experts_only(fast_base: Path, rank: int | None):
    module = stir(upcycle(fast_base, expert_rank=rank, experts=5, top_k=1))
    hidden, seen, ids, real = seen_rows(module, INPUTS)
    assert sum(len(seen[n]) for n in range(3) if n in seen) == real.sum()
    assert all(len(rows) < real.sum() for rows in seen.values())
    assert torch.equal(seen[3], hidden[expected_rows(module, ids, "category")])
    assert torch.equal(seen[4], hidden[expected_rows(module, ids, "attribute")])


@RANKS
def test_every_expert_computes_exactly_the_rows_that_are_routed_to_it(fast_base: Path, rank: int | None):
    module = stir(upcycle(fast_base, expert_rank=rank, experts=6, top_k=2))
    hidden, seen, ids, real = seen_rows(module, INPUTS)
    types = module.markers.types(ids).flatten().masked_fill(~real, TokenType.PADDING)
    with torch.inference_mode():
        weights = first_experts(module).route(hidden, types)
    computed = [len(seen[n]) if n in seen else 0 for n in range(6)]
    assert computed == (weights > 0).sum(0).tolist()
    assert sum(computed[:4]) == 2 * real.sum()


@RANKS
@ATTENTION
def test_real_tokens_do_not_depend_on_padding(base: Path, rank: int | None, attention: str):
    module = stir(upcycle(base, expert_rank=rank, attention=attention))
    short = model_input([], query_text("green lamp"))
    with torch.inference_mode():
        alone, mask = outputs(module, [short])
        padded, mask_beside_long = outputs(module, [short, model_input([], CHAIR)])
    assert not mask_beside_long[0].all()
    torch.testing.assert_close(padded[0][mask_beside_long[0]], alone[0][mask[0]], atol=1e-5, rtol=0)


def test_a_call_without_a_mask_has_no_padding(fast_base: Path):
    module = upcycle(fast_base)
    types = module.markers.types(module.tokens(INPUTS)["input_ids"])
    assert (types >= 0).all()


def experts_of(width: int = 8, **config: Any) -> FullExperts:
    torch.manual_seed(0)
    experts = FullExperts(MoonConfig(**config), width, torch.nn.Linear(width, width))
    torch.nn.init.normal_(experts.router.weight)
    return experts


TYPES = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_weights_of_every_token_sum_to_one_and_inactive_experts_weigh_nothing(top_k: int):
    weights = experts_of(experts=5, top_k=top_k).route(torch.randn(6, 8), TYPES)
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    assert (weights[:, 3] > 0).tolist() == (TYPES == 1).tolist()
    assert (weights[:, 4] > 0).tolist() == (TYPES == 2).tolist()
    assert ((weights[:, :3] > 0).sum(1) == top_k).all()


@pytest.mark.parametrize("renormalise", [True, False])
def test_padding_gets_nothing_and_gives_no_gradient(renormalise: bool):
    experts = experts_of(experts=5, top_k=2, balance=0.3, renormalise=renormalise).train()
    experts.token_types = torch.tensor([[0, 1, -1], [2, -1, -1]])
    hidden = torch.randn(2, 3, 8, requires_grad=True)
    out = experts(hidden)
    out.sum().backward()
    padding = experts.token_types == TokenType.PADDING
    assert (out[padding] == 0).all()
    assert (out[~padding] != 0).any(1).all()
    assert (hidden.grad[padding] == 0).all()
    assert torch.isfinite(hidden.grad).all()
    assert torch.isfinite(experts.router.weight.grad).all()


def test_weights_follow_from_router_logits_and_types():
    experts, x = experts_of(experts=5, top_k=2), torch.randn(6, 8)
    assert torch.equal(experts.weigh(experts.router(x), TYPES), experts.route(x, TYPES))


def test_literal_form_keeps_the_full_softmax_and_drops_inactive_experts():
    experts, x = experts_of(renormalise=False), torch.randn(6, 8)
    full = experts.router(x).softmax(1)
    full[TYPES != 1, 2] = 0
    full[TYPES != 2, 3] = 0
    torch.testing.assert_close(experts.route(x, TYPES), full)


def test_output_is_the_weighted_sum_of_the_equation():
    experts, x = experts_of(), torch.randn(2, 3, 8)
    for expert in experts.experts:
        torch.nn.init.normal_(expert.weight)
    experts.token_types = TYPES.reshape(2, 3)
    weights = experts.route(x.flatten(0, 1), TYPES)
    dense = torch.stack([expert(x.flatten(0, 1)) for expert in experts.experts], dim=1)
    torch.testing.assert_close(experts(x), (weights[..., None] * dense).sum(1).reshape(2, 3, 8))


@RANKS
def test_gradients_reach_only_the_experts_that_were_used(fast_base: Path, rank: int | None):
    module = stir(upcycle(fast_base, expert_rank=rank))
    outputs(module, [model_input([], label_text("Chairs", "category"))])[0].square().sum().backward()
    experts = first_experts(module)
    groups = (
        [[*expert.parameters()] for expert in experts.experts]
        if rank is None
        else [[experts.gate.b[n], experts.up.b[n], experts.down.b[n]] for n in range(4)]
    )
    touched = [any(p.grad is not None and p.grad.abs().sum() > 0 for p in group) for group in groups]
    assert touched == [True, True, True, False]


@pytest.mark.parametrize("reentrant", [False, True])
@RANKS
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(base: Path, rank: int | None, reentrant: bool):
    def step(checkpointing: bool) -> tuple[Tensor, dict[str, Tensor]]:
        module = stir(upcycle(base, expert_rank=rank, experts=5, top_k=2)).train()
        if checkpointing:
            module.model.activation_checkpointing_enable({"use_reentrant": reentrant})
            module.model.enable_input_require_grads()
        first, mask = outputs(module, [model_input([picture(1)], CHAIR)])
        second, _ = outputs(module, [model_input([], label_text("leather black", "attribute"))])
        loss = first[mask].square().mean() + second.square().mean()
        loss.backward()
        return loss.detach(), {n: p.grad for n, p in module.model.named_parameters() if p.grad is not None}

    (loss, gradients), (loss_again, gradients_again) = step(False), step(True)
    assert torch.equal(loss, loss_again)
    experts = {name for name in gradients if ".mlp." in name}
    assert experts
    assert experts <= gradients_again.keys()
    for name in gradients:
        if name in gradients_again:
            torch.testing.assert_close(gradients_again[name], gradients[name], atol=1e-6, rtol=1e-4, msg=name)


def router_gradient(experts: GuidedExperts, x: Tensor, types: Tensor = TYPES) -> Tensor:
    experts.zero_grad()
    (experts.route(x, types).sum() * 0).backward()
    gradient = experts.router.weight.grad
    return torch.zeros_like(experts.router.weight) if gradient is None else gradient.clone()


def test_load_balancing_gradient_is_that_of_the_published_loss():
    experts, x = experts_of(experts=5, top_k=1, balance=0.3).train(), torch.randn(6, 8)
    found = router_gradient(experts, x)
    weight = experts.router.weight.detach().clone().requires_grad_()
    logits = (x @ weight.T)[:, :3]
    share = torch.nn.functional.one_hot(logits.argmax(1), 3).float().mean(0)
    (0.3 * 3 * (share * logits.softmax(1).mean(0)).sum()).backward()
    assert found.abs().sum() > 0
    torch.testing.assert_close(found, weight.grad)


def test_load_balancing_leaves_padding_out():
    experts, x = experts_of(experts=5, top_k=1, balance=0.3).train(), torch.randn(6, 8)
    padded = torch.cat([TYPES, torch.full((4,), TokenType.PADDING)])
    found = router_gradient(experts, torch.cat([x, torch.randn(4, 8)]), padded)
    torch.testing.assert_close(found, router_gradient(experts, x))


def test_load_balancing_of_padding_alone_is_nothing():
    experts = experts_of(balance=0.3).train()
    padding = torch.full((6,), TokenType.PADDING)
    assert (router_gradient(experts, torch.randn(6, 8), padding) == 0).all()


def test_calls_at_half_scale_balance_their_mean():
    experts, first, second = experts_of(experts=5, top_k=1, balance=0.3).train(), torch.randn(6, 8), torch.randn(6, 8)
    whole = router_gradient(experts, first) + router_gradient(experts, second)
    experts.balance_scale = 0.5
    halves = router_gradient(experts, first) + router_gradient(experts, second)
    torch.testing.assert_close(halves, whole / 2)


def test_the_scale_of_a_checkpointed_call_is_the_one_it_was_called_with():
    def step(checkpointing: bool, scale: float) -> Tensor:
        experts = experts_of(experts=5, top_k=1, balance=0.3).train()
        experts.balance_scale = scale
        x = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
        out = checkpoint(experts, x, use_reentrant=False) if checkpointing else experts(x)
        experts.balance_scale = 1.0
        (out.sum() * 0).backward()
        return experts.router.weight.grad

    assert torch.equal(step(True, 0.5), step(False, 0.5))
    assert not torch.equal(step(True, 0.5), step(False, 1.0))


@pytest.mark.parametrize(("training", "balance"), [(False, 0.3), (True, 0.0)])
def test_no_load_balancing_outside_training_or_at_coefficient_zero(training: bool, balance: float):
    experts = experts_of(balance=balance).train(training)
    assert router_gradient(experts, torch.randn(6, 8)).abs().sum() == 0


@RANKS
def test_experts_run_under_automatic_mixed_precision(fast_base: Path, rank: int | None):
    module = stir(upcycle(fast_base, expert_rank=rank)).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = outputs(module, INPUTS)
    found.float().square().mean().backward()
    assert torch.isfinite(found).all()
    assert first_experts(module).router.weight.grad.abs().sum() > 0


def test_upper_half_alternate_replaces_the_last_layer_and_leaves_the_lower_half(fast_base: Path):
    layers = decoder_layers(upcycle(fast_base, moe_layers="upper_half_alternate").model)
    assert [isinstance(layer.mlp, GuidedExperts) for layer in layers] == [False, True]


def test_low_rank_experts_share_one_ffn(fast_base: Path):
    experts = first_experts(upcycle(fast_base, expert_rank=4))
    assert isinstance(experts, LowRankExperts)
    added = sum(p.numel() for name, p in experts.named_parameters() if not name.startswith(("shared", "router")))
    assert added == 4 * 3 * 4 * (32 + 48)


@pytest.mark.parametrize("values", [{"experts": 2, "top_k": 1}, {"top_k": 3}, {"top_k": 0}])
def test_impossible_numbers_of_experts_are_refused(values: dict[str, int]):
    with pytest.raises(ValueError, match=r"experts|top_k"):
        MoonConfig(**values)


def test_without_guidance_tokens_of_every_type_use_the_best_of_all_experts():
    x = torch.randn(6, 8)
    guided, free = experts_of(experts=5, top_k=2), experts_of(experts=5, top_k=2, guided=False)
    weights = free.route(x, TYPES)
    assert torch.equal(weights, free.route(x, torch.zeros(6, dtype=torch.long)))
    assert not torch.equal(guided.route(x, TYPES), guided.route(x, torch.zeros(6, dtype=torch.long)))
    assert torch.equal(weights > 0, best_of(free.router(x), 2))
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    count = [sum(p.numel() for p in experts.parameters()) for experts in (guided, free)]
    assert count[0] == count[1]


def best_of(logits: Tensor, k: int) -> Tensor:
    return logits >= logits.topk(k, dim=1).values[:, -1:]


def test_without_guidance_padding_still_gets_nothing_and_all_experts_are_balanced():
    experts = experts_of(experts=5, top_k=1, balance=0.3, guided=False).train()
    types = torch.tensor([0, 1, 2, -1, 0, -1])
    assert (experts.route(torch.randn(6, 8), types)[types < 0] == 0).all()
    assert (router_gradient(experts, torch.randn(6, 8)).abs().sum(1) > 0).all()
