"""A pretrained encoder in a training: its sizes as settings, its checks, its weights.

An encoder of any architecture of transformers is tried on a few random blocks before the training:
what recurrence and batches ask of it must hold. One that transformers cannot build, a decoder, and
one with too few positions are refused before that.
"""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.backbone_step import (
    MOST_POSITIONS,
    BackboneStep,
    BlockTokenizer,
    fitting_bp,
    positions_of,
    random_letters,
)
from rmt_genomics.model.backbones import (
    Backbone,
    BackboneSettings,
    build_encoder,
    encoder_sizes,
    pretrained_weights,
    read_backbone,
)
from rmt_genomics.rmt import Segment
from rmt_genomics.rmt.runtime import evaluating
from rmt_genomics.training.config import ExperimentConfig

logger = logging.getLogger("rmt_genomics.training")

_SEGMENT_BP = 96  # of the blocks that an encoder is tried on, or fewer
_TOLERANCE = 1e-3  # relative: what is computed in 32-bit floats in another order
_ROUNDING = 1e-5  # what differs by less is equal


def with_backbone_sizes(config: ExperimentConfig) -> ExperimentConfig:
    """Return the same settings with the sizes of ``model.backbone``, if there is one.

    Raises:
        ConfigError: If a given size is another one, or the encoder does not fit.
        CheckpointError: If the encoder cannot be read.
    """
    model = config.model
    if model.backbone is None:
        return config
    if config.training.compile:
        raise ConfigError(
            "training.compile is true, but with model.backbone the layers are those of another "
            "package, which are not compiled. Leave one of them out."
        )
    backbone = read_backbone(model.backbone, trust_remote_code=model.trust_remote_code)
    sizes = encoder_sizes(backbone)
    for name, value in sizes._asdict().items():
        given = getattr(model, name)
        if given is not None and given != value:
            raise ConfigError(
                f"model.{name} is {given}, but must be {value}, as in the encoder "
                f"{model.backbone!r}. Leave it out."
            )
    values: dict[str, Any] = {**model.model_dump(exclude_unset=True), **sizes._asdict()}
    values.setdefault("num_memory_tokens", 8)
    if values.get("segment_length") is None:
        values["segment_length"] = segment_bp(backbone, values["num_memory_tokens"])
    return config.replace(model=type(model)(**values))


def segment_bp(backbone: Backbone, num_memory_tokens: int) -> int:
    """Return the length in bp of segments that fill up to 512 positions of an encoder."""
    with torch.device("meta"):
        limit = positions_of(build_encoder(backbone)).limit
    most = min(MOST_POSITIONS, limit or MOST_POSITIONS) - 2 * num_memory_tokens
    tokenizer = BlockTokenizer(backbone, _SEGMENT_BP, None)
    if most <= sum(map(len, tokenizer.special_ids)):
        raise ConfigError(
            f"model.num_memory_tokens is {num_memory_tokens}, of which there are two sets, but "
            f"{backbone.source!r} has {limit} positions for memory and tokens. Lower it."
        )
    tokenizer.check()
    return fitting_bp(tokenizer, most)


def build_model(
    config: ExperimentConfig, classifier: ClassifierConfig, *, for_timing: bool = False
) -> RMTClassifier:
    """Return a new model, around the pretrained encoder if there is one; it is checked first.

    Args:
        config: Settings of the training.
        classifier: Settings of the model, without the encoder.
        for_timing: The weights do not matter: the encoder's are random, and nothing is checked.
    """
    source = config.model.backbone
    if source is None:
        return RMTClassifier(classifier)
    backbone = read_backbone(source, trust_remote_code=config.model.trust_remote_code)
    model = RMTClassifier(classifier.replace(backbone=backbone))
    step = model.encoder.step
    assert isinstance(step, BackboneStep)
    step.tokenizer.check()
    if not for_timing and config.model.backbone_weights == "pretrained":
        load_pretrained(step, backbone)
    if not for_timing:
        check_encoder(step, source)
    choose_trained(step, config.model)
    if not for_timing:
        count = sum(each.numel() for each in step.backbone.parameters())
        kind = f"{config.model.backbone_weights} weights, {backbone.model_type}"
        logger.info(f"encoder {source}: {count:,} {kind}; segments of {step.config.seq_len:,} bp")
    return model


def load_pretrained(step: BackboneStep, backbone: Backbone) -> None:
    """Give the step the weights of its encoder, and memory of their size."""
    weights = pretrained_weights(backbone)
    expected = step.backbone.state_dict()
    if differing := sorted(weights.keys() ^ expected.keys()):
        raise ConfigError(
            f"model.backbone is {backbone.source!r}, but its weight {differing[0]!r} does not "
            "belong to the encoder that its config.json describes. This encoder does not fit."
        )
    step.backbone.load_state_dict(weights)
    step.initialise_memory()


def choose_trained(step: BackboneStep, settings: BackboneSettings) -> None:
    """Freeze what is not trained of the encoder, or add the adapters that are trained instead.

    Raises:
        ConfigError: If it has fewer layers, cannot compute them again, or peft is not installed.
    """
    encoder, frozen = step.backbone, settings.backbone_frozen_layers
    if settings.backbone_checkpointing:
        _checkpoint_layers(encoder, str(settings.backbone))
    if settings.backbone_lora:
        add_adapters(encoder, settings.backbone_lora)
    elif frozen == "all":
        encoder.requires_grad_(requires_grad=False)
    elif frozen:
        layers = layers_of(encoder)
        if frozen > len(layers):
            raise ConfigError(
                f"model.backbone_frozen_layers is {frozen}, but {settings.backbone!r} has "
                f"{len(layers)} layers. Lower it, or set it to 'all'."
            )
        for name, child in encoder.named_modules():
            if name.rpartition(".")[2].startswith("embed"):
                child.requires_grad_(requires_grad=False)
        for layer in layers[:frozen]:
            layer.requires_grad_(requires_grad=False)


def layers_of(encoder: nn.Module) -> nn.ModuleList:
    """Return the layers of an encoder, the first one first."""
    settings: Any = encoder.config
    depth = settings.num_hidden_layers
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise ConfigError(
        f"model.backbone_frozen_layers is set, but the {depth} layers of {type(encoder).__name__} "
        "are not found. Set it to 0 or 'all'."
    )


def _checkpoint_layers(encoder: Any, source: str) -> None:
    if not encoder.supports_gradient_checkpointing:
        raise ConfigError(
            f"model.backbone_checkpointing is true, but {source!r} cannot compute its layers "
            "again. Leave it out."
        )
    kind = "activation" if hasattr(encoder, "activation_checkpointing_enable") else "gradient"
    options = {f"{kind}_checkpointing_kwargs": {"use_reentrant": False}}
    getattr(encoder, f"{kind}_checkpointing_enable")(**options)
    encoder.disable_input_require_grads()  # a hook for what is not used here, re-entrant graphs


def add_adapters(encoder: nn.Module, rank: int) -> None:
    """Freeze an encoder and add low-rank adapters to its linear layers (Hu et al. 2021)."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ConfigError(
            f"model.backbone_lora is {rank}, but that needs the package peft, which is not "
            "installed. Install it: pip install peft"
        ) from error
    names = {
        name.rpartition(".")[2]
        for name, module in layers_of(encoder).named_modules()
        if isinstance(module, nn.Linear)
    }
    encoder.requires_grad_(requires_grad=False)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=sorted(names))
    inject_adapter_in_model(config, encoder)


def merge_adapters(model: RMTClassifier) -> None:
    """Add adapters to the weights that they adapt, if there are any, and remove them."""
    step = model.encoder.step
    for name, module in list(step.named_modules()):
        if hasattr(module, "get_base_layer"):
            parent, _, attribute = name.rpartition(".")
            module.merge()
            setattr(step.get_submodule(parent), attribute, module.get_base_layer())


@torch.no_grad()
def check_encoder(step: BackboneStep, source: str) -> None:
    """Raise ConfigError unless the encoder does what recurrence and batches ask of it."""

    def require(rule: str, *, holds: bool) -> None:
        if not holds:
            raise ConfigError(
                f"model.backbone is {source!r}, but {rule}. This encoder does not fit."
            )

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with evaluating(step), torch.random.fork_rng(devices):
        torch.manual_seed(0)
        length = min(_SEGMENT_BP, step.config.seq_len)
        memory = torch.randn(2, step.config.num_memory_tokens, step.config.dim)
        codes = torch.stack([_codes(length, 1), _codes(length, 2)])
        whole = Segment(codes, None, 0, length)
        written = _written(step, whole, memory)
        require("what it computes must be finite", holds=bool(written.isfinite().all()))
        again = _written(step, whole, memory)
        require("it must compute the same when it is called again", holds=_same(again, written))

        other = _written_in_reverse_order(step, whole, memory)
        require(
            "memory must depend on the tokens after it and on their order: a decoder, or an "
            "encoder whose positions got lost, does not do that",
            holds=other is None or not _same(other, written, _ROUNDING),
        )
        other = _written(step, whole, -memory)
        require("its states must depend on memory", holds=not _same(other, written, _ROUNDING))

        short = max(1, length // 3)
        keep = torch.arange(length) < torch.tensor([[length], [short]])
        ragged = _written(step, Segment(codes, keep, 0, length), memory)
        alone = _written(step, Segment(codes[1:, :short], None, 0, short), memory[1:])
        require("the states of a row must not depend on padding", holds=_same(ragged[1:], alone))
        twin = BackboneStep(step.config, step.tokenizer.backbone).eval()
        twin.load_state_dict(step.state_dict())
        loaded = _written(twin, whole, memory)
        require("saved and loaded again it must compute the same", holds=_same(loaded, written))


def _written_in_reverse_order(
    step: BackboneStep, segment: Segment, memory: Tensor
) -> Tensor | None:
    """Return what is written of each row's tokens in reverse order; None if that is no change."""
    ids, is_token = step.token_ids(segment)
    before, after = map(len, step.tokenizer.special_ids)
    reverse = ids.clone()
    for row, count in enumerate(is_token.sum(dim=1).tolist()):
        inside = slice(before, count - after)
        reverse[row, inside] = ids[row, inside].flip(0)
    return None if torch.equal(reverse, ids) else step.write(memory, reverse, is_token)


def _codes(length: int, seed: int) -> Tensor:
    letters = random_letters(length, seed)
    return torch.tensor(["ACGT".index(each) for each in letters], dtype=torch.uint8)


def _written(step: BackboneStep, segment: Segment, memory: Tensor) -> Tensor:
    output = step.read(segment, memory).output
    assert output is not None
    return output


def _same(first: Tensor, second: Tensor, tolerance: float = _TOLERANCE) -> bool:
    return bool(((first - second).abs().max() <= tolerance * second.abs().max()).item())
