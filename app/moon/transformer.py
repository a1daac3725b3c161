"""MOON as a sentence-transformers module: a Hugging Face image-text model whose decoder FFNs are guided experts."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Self

from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn
from transformers import MODEL_MAPPING, PretrainedConfig, PreTrainedModel

from app.errors import ModelError
from app.moon.boxes import BoxHead
from app.moon.config import MoonConfig
from app.moon.experts import decoder_layers, insert_experts
from app.moon.merging import Merging
from app.moon.segments import MARKERS, Markers, TokenType, image_token_id, reserved_tokens, without
from app.moon.skip import SegmentWeights, Skip


def add_moon_parts(model: Any, config: MoonConfig) -> None:
    """Insert guided experts and, where configured, the skip path and the box head, into a loaded base model."""
    insert_experts(model, config)
    weight = next(decoder_layers(model).parameters())
    if config.skip:
        width = model.config.get_text_config().hidden_size
        statistics = _statistics_size(model) if config.picture_dims else 0
        skip = Skip(width, statistics, config.picture_dims, config.picture_dropout)
        model.moon_skip = skip.to(device=weight.device, dtype=weight.dtype)
    if config.pooling == "segments":
        model.moon_segment_weights = SegmentWeights(config.picture_dims).to(device=weight.device, dtype=weight.dtype)
    if config.box_head:
        if not hasattr(getattr(model, "vision_tower", None), "features"):
            raise ModelError("box_head=True needs a vision tower with a feature map; choose another detector.")
        channels = model.config.vision_config.hidden_size
        model.moon_box_head = BoxHead(channels).to(device=weight.device, dtype=weight.dtype)
    model.config.moon = config.to_dict()


def _statistics_size(model: Any) -> int:
    try:
        return model.vision_tower.statistics_size
    except AttributeError:
        raise ModelError("picture_dims needs a vision tower with statistics; leave it out for this model.") from None


def _base_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The transformers class of the base model; a few configurations offer several, then the checkpoint names one."""
    try:
        classes: Any = MODEL_MAPPING[type(config)]
    except KeyError as error:
        raise ModelError(f"transformers has no base model for {config.model_type!r}; update transformers.") from error
    if not isinstance(classes, tuple):
        return classes
    return next((cls for cls in classes if cls.__name__ in (config.architectures or ())), classes[0])


@functools.cache
def moon_class(base: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """A subclass of ``base`` that is built with the parts its ``config.moon`` names, so that weights load strictly."""

    def init(self: PreTrainedModel, config: PretrainedConfig, *args: Any, **kwargs: Any) -> None:
        base.__init__(self, config, *args, **kwargs)
        add_moon_parts(self, MoonConfig.of(config))

    return type(base.__name__, (base,), {"__init__": init, "__module__": base.__module__})


class MoonTransformer(Transformer):
    """Tokens of pictures and marked text in, one output vector per token out; pooling and normalisation follow.

    Inputs are dicts ``{"image": [PIL, ...], "text": str}`` as :mod:`app.moon.prompt` writes them.
    ``keep_visual_tokens`` below 1 merges those of each input into so large a share, see :mod:`app.moon.merging`.
    """

    keep_visual_tokens: float
    model: Any
    words: Any

    def __init__(self, model_name_or_path: str, **kwargs: Any) -> None:
        """Load a MOON checkpoint. Raises ModelError for a base model and for weights that do not fit."""
        super().__init__(model_name_or_path, **kwargs)
        self.attach()

    def attach(self) -> None:
        """Connect to the model's language model; called once the MOON parts are in place."""
        self.moon = MoonConfig.of(self.model.config)
        self.words = self.tokenizer
        self.markers = Markers.of(self.words, image_token_id(self.model.config))
        self.reserved = reserved_tokens(self.words)
        object.__setattr__(self, "_decoder", self.model.get_decoder())
        self._decoder.register_forward_pre_hook(self.enter_decoder, with_kwargs=True)
        self._decoder.register_forward_hook(self.leave_decoder)
        if self.moon.picture_dims:
            self.watch(self.model.vision_tower)
        self.keep_visual_tokens = 1.0
        self._token_types: Tensor | None = None
        self._visual: Tensor | None = None
        self._merging: Merging | None = None
        self._embedded: Tensor | None = None
        self._statistics: Tensor | None = None

    def get_embedding_dimension(self) -> int:
        """Width of the output vectors: the LLM's, and what the skip path's pictures have beyond it."""
        return super().get_embedding_dimension() + self.moon.picture_dims

    def watch(self, tower: nn.Module) -> None:
        """Note the statistics of the pictures that ``tower`` is shown, for the skip path."""
        tower.register_forward_hook(self._note_statistics)

    def _note_statistics(self, tower: nn.Module, args: tuple, output: Any) -> None:
        self._statistics = output.statistics

    def _load_model(
        self,
        model_name_or_path: str,
        transformer_task: Any,
        config: PretrainedConfig,
        backend: str,
        is_peft_model: bool,
        **model_kwargs: Any,
    ) -> PreTrainedModel:
        if getattr(config, "moon", None) is None:
            raise ModelError(f"{model_name_or_path} is no MOON checkpoint; make one with `trainer upcycle`.")
        model_kwargs.pop("trust_remote_code", None)
        base: Any = _base_class(config)
        cls: Any = moon_class(base)
        model, loading = cls.from_pretrained(
            model_name_or_path,
            config=config,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported below, together with the other problems
            **model_kwargs,
        )
        kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
        if problems := {kind: sorted(loading[kind]) for kind in kinds if loading[kind]}:
            raise ModelError(
                f"{model_name_or_path}: the weights do not fit the configuration ({problems}); "
                "the checkpoint is damaged or was made by another version; download or train it again."
            )
        return model

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds ``token_embeddings`` (batch, tokens, width); mean pooling turns ``attention_mask`` into the content."""
        self._token_types = self.markers.types(features["input_ids"], features.get("attention_mask"))
        self._visual = features["input_ids"] == self.markers.image
        try:
            features = super().forward(features, **kwargs)
            embedded, statistics = self._embedded, self._statistics
        finally:
            self._token_types = self._visual = self._merging = self._embedded = self._statistics = None
        tokens = features["token_embeddings"]
        if self.moon.skip or self.moon.pooling == "segments":
            parts = self.markers.parts(features["input_ids"], features["attention_mask"])
            if self.moon.skip:
                tokens = self.model.moon_skip(embedded, tokens, parts, statistics)
            if self.moon.pooling == "segments":
                tokens = self.model.moon_segment_weights(tokens, parts)
        features["token_embeddings"] = tokens
        if self.moon.pooling in ("mean", "segments"):
            features["attention_mask"] = self.markers.content(features["input_ids"], features["attention_mask"])
        return features

    def enter_decoder(self, decoder: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Send the token types with the call to every layer; note the input embeddings; open the attention mask.

        Merge visual tokens, if so wished.
        """
        if self._token_types is None or self._visual is None:
            return args, kwargs
        kwargs["token_types"] = self._token_types
        if self.moon.skip:
            self._embedded = kwargs["inputs_embeds"]
        if self.keep_visual_tokens < 1 and self._visual.any():
            counted = self._token_types != TokenType.PADDING
            self._merging = Merging.of(kwargs["inputs_embeds"], self._visual, counted, self.keep_visual_tokens)
            kwargs = self._merging.shorten(kwargs)
        mask = kwargs.get("attention_mask")
        if self.moon.attention == "bidirectional" and mask is not None and mask.ndim == 2:
            kwargs["attention_mask"] = mask.bool()[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
        return args, kwargs

    def leave_decoder(self, decoder: nn.Module, args: tuple, output: Any) -> None:
        """Give every token the output of the one that it was merged into."""
        if self._merging is not None:
            output.last_hidden_state = self._merging.restore(output.last_hidden_state)

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, processing_kwargs: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """As the base class, but text cannot turn into any special token other than the segment markers."""
        return super().preprocess([self.harmless(item) for item in inputs], prompt, processing_kwargs, **kwargs)

    def harmless(self, item: Any) -> Any:
        """An input, or its text, without special tokens other than the segment markers."""
        if isinstance(item, str):
            return without(self.reserved, item)
        if isinstance(item, Mapping) and isinstance(item.get("text"), str):
            return {**item, "text": without(self.reserved, item["text"])}
        return item

    def tokens(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Preprocessed batch on the model's device."""
        batch = self.preprocess(list(inputs))
        return {
            key: value.to(self.model.device) if isinstance(value, Tensor) else value for key, value in batch.items()
        }

    @classmethod
    def upcycled(cls, base: str, config: MoonConfig, **kwargs: Any) -> Self:
        """A MOON model from any Hugging Face image-text model: same function, plus experts and segment tokens.

        ``kwargs`` are those of the sentence-transformers module. Raises ModelError for a base that cannot carry MOON.
        """
        plain = Transformer(base, **kwargs)
        if hasattr(plain.model.config, "moon"):
            raise ModelError(f"{base} is a MOON checkpoint already; upcycle the base model it was made from.")
        module = cls.__new__(cls)
        module.__setstate__(vars(plain))
        tokenizer: Any = module.tokenizer
        tokenizer.add_special_tokens({"additional_special_tokens": MARKERS}, replace_extra_special_tokens=False)
        if len(tokenizer) > module.model.get_input_embeddings().num_embeddings:
            module.model.resize_token_embeddings(len(tokenizer))
        add_moon_parts(module.model, config)
        module.attach()
        return module
