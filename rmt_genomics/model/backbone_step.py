"""A pretrained encoder as the step of the recurrence: ``[read | write | tokens]``.

A segment is a block of base pairs, which the encoder's own tokenizer reads alone: the same tokens
in memory and streaming, and coordinates in bp. Memory enters as placeholder ids whose word
embeddings are replaced. So the encoder treats memory as it treats words (positions, norms, the
scaling of ESM). Both memories are before the tokens, so that what a row computes does not depend
on the padding of its batch: not by positions, nor by a window of attention that counts them.

Dimensions: b batch, n base pairs of a segment, t tokens of the encoder, m memory tokens, d width.
"""

import inspect
import os
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from rmt_genomics.errors import ConfigError, RMTGenomicsWarning
from rmt_genomics.model.backbones import Backbone, build_encoder, load_tokenizer
from rmt_genomics.rmt import RMTConfig, Segment, StepOutput
from rmt_genomics.rmt.memory import Cache, MemoryTokens

MOST_POSITIONS = 512  # of a segment whose length is not given
_CACHED_BLOCKS = 4096
_LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)
_MARGIN = 0.9  # of the positions, for DNA that makes more tokens than random DNA
_MOST_TOKENS = 1.5  # relative to random DNA; a block of N alone may make many more


class BlockTokenizer:
    """Blocks of DNA letters to the token ids of an encoder, special tokens included.

    Args:
        backbone: The encoder.
        segment_bp: Letters of a full block.
        limit: Most tokens of a block; None = no limit.
    """

    def __init__(self, backbone: Backbone, segment_bp: int, limit: int | None) -> None:
        self.backbone, self.segment_bp, self.limit = backbone, segment_bp, limit
        self._cache: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._has_warned = False

    def __deepcopy__(self, _: object) -> "BlockTokenizer":
        return self  # nothing that a copy of the model could change

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the encoder."""
        # Its threads do not survive the forks of data loaders, and warn of it.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        return load_tokenizer(self.backbone)

    @cached_property
    def special_ids(self) -> tuple[list[int], list[int]]:
        """The ids that the encoder expects before a block and after it."""
        whole = list(self.tokenizer("ACGT")["input_ids"])
        inside = self._ids(["ACGT"])[0]
        for start in range(len(whole) - len(inside) + 1):
            if whole[start : start + len(inside)] == inside:
                return whole[:start], whole[start + len(inside) :]
        return [], []

    @cached_property
    def max_tokens(self) -> int:
        """Most tokens that are read of a block, special tokens included."""
        most = int(_MOST_TOKENS * self.count(self.segment_bp)) + 16
        return most if self.limit is None else min(most, self.limit)

    def count(self, length_bp: int) -> int:
        """Return how many tokens random DNA of this length makes, special tokens included."""
        before, after = self.special_ids
        blocks = [random_letters(length_bp, seed) for seed in range(4)]
        return len(before) + max(map(len, self._ids(blocks))) + len(after)

    def check(self) -> None:
        """Raise ConfigError if DNA gives unknown tokens, or a segment too many."""
        unknown = self.tokenizer.unk_token_id
        ids = self._ids([random_letters(600, 0)])[0]
        if not ids or (unknown is not None and unknown in ids):
            raise ConfigError(
                f"model.backbone is {self.backbone.source!r}, but its tokenizer has no tokens for "
                "plain DNA letters such as ACGTAC. A tokenizer of separate words, or of another "
                "alphabet, does not fit."
            )
        count = self.count(self.segment_bp)
        if self.limit is not None and count > self.limit:
            raise ConfigError(
                f"model.segment_length is {self.segment_bp} bp, about {count} tokens of "
                f"{self.backbone.source!r}, but a segment has at most {self.limit}: its positions "
                "less those of the memory. Lower model.segment_length to "
                f"{fitting_bp(self, self.limit)}."
            )

    def __call__(self, blocks: Sequence[bytes]) -> list[np.ndarray]:
        """Return the ids of each block of upper-case letters."""
        missing = [block for block in dict.fromkeys(blocks) if block not in self._cache]
        found = dict(zip(missing, self._fitting(missing), strict=True)) if missing else {}
        rows = [found[block] if block in found else self._cache[block] for block in blocks]
        for block, row in zip(blocks, rows, strict=True):
            self._cache[block] = row
            self._cache.move_to_end(block)
        while len(self._cache) > _CACHED_BLOCKS:
            self._cache.popitem(last=False)
        return rows

    def forget(self) -> None:
        """Forget the blocks that have been read; they are tokenised again."""
        self._cache.clear()

    def _fitting(self, blocks: Sequence[bytes]) -> list[np.ndarray]:
        before, after = self.special_ids
        most = self.max_tokens - len(before) - len(after)
        ids = self._ids([block.decode() for block in blocks])
        rows = []
        for block, inside in zip(blocks, ids, strict=True):
            if len(inside) > most:  # a run of N tells nothing, whatever its length
                inside = self._ids(["N".join(filter(None, block.decode().split("N")))])[0]
            if len(inside) > most:
                self._warn_cut(len(inside), most)
            rows.append(np.array([*before, *inside[:most], *after], dtype=np.int32))
        return rows

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [list(each) for each in ids]

    def _warn_cut(self, count: int, most: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"a segment of {self.segment_bp} bp makes {count} tokens of "
                f"{self.backbone.source!r}, of which only the first {most} are read, as of others "
                "like it. Lower model.segment_length.",
                RMTGenomicsWarning,
                stacklevel=2,
            )


def random_letters(length_bp: int, seed: int) -> str:
    """Return random DNA, the same for the same seed."""
    codes = np.random.default_rng(seed).integers(0, 4, size=length_bp)
    return _LETTERS[codes].tobytes().decode()


def fitting_bp(tokenizer: BlockTokenizer, most_tokens: int) -> int:
    """Return how many bp of random DNA make at most that many tokens; a multiple of 12 if it can.

    So that the k-mers of most tokenizers (3, 4 or 6 bases) end with a block.
    """
    special = sum(map(len, tokenizer.special_ids))
    bp_a_token = 6000 / (tokenizer.count(6000) - special)
    length = int((most_tokens - special) * bp_a_token * _MARGIN)
    while length > 1 and tokenizer.count(length) > most_tokens:
        length = int(0.9 * length)
    return max(1, length // 12 * 12 if length >= 12 else length)


@dataclass(frozen=True, slots=True)
class Positions:
    """The positions of an encoder."""

    limit: int | None
    """How many there are; None = no limit."""

    width: int
    """Multiple that an input is padded to; 1 = as long as its longest row."""

    least: int
    """Fewest positions of an input."""


def positions_of(encoder: nn.Module) -> Positions:
    """Return the positions of an encoder, from its table of positions or its settings."""
    settings: Any = encoder.config
    limit = getattr(settings, "max_position_embeddings", None)
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa, ESM
            limit = module.num_embeddings - first
    if getattr(settings, "attention_type", None) == "block_sparse":  # BigBird
        block, random = settings.block_size, settings.num_random_blocks
        # Shorter inputs would switch it to full attention for good.
        return Positions(limit // block * block, block, (6 + 2 * random) * block)
    return Positions(limit, 1, 1)


class BackboneStep(nn.Module):
    """An encoder with memory: called as ``rmt.SegmentTransformer`` is, on segments of base codes.

    Args:
        config: Of the memory; ``seq_len`` is the length of a segment in bp.
        backbone: The encoder and its tokenizer.
    """

    def __init__(self, config: RMTConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_encoder(backbone)
        self.memory = MemoryTokens(config)
        self.memory_scale = nn.Parameter(torch.ones(config.dim))
        self.positions = positions_of(self.backbone)
        limit = self.positions.limit
        num_memory = 2 * config.num_memory_tokens
        if limit is not None and limit <= num_memory + 2:
            raise ConfigError(
                f"model.num_memory_tokens is {config.num_memory_tokens}, of which there are two "
                f"sets, but {backbone.source!r} has {limit} positions for memory and tokens. "
                "Lower model.num_memory_tokens."
            )
        self.tokenizer = BlockTokenizer(
            backbone, config.seq_len, None if limit is None else limit - num_memory
        )
        settings: Any = self.backbone.config
        pad_id = getattr(settings, "pad_token_id", None)
        special = {pad_id, getattr(settings, "mask_token_id", None)}
        self.pad_id: int = pad_id or 0
        self.placeholder = next(i for i in range(settings.vocab_size) if i not in special)
        arguments = inspect.signature(self.backbone.forward).parameters
        self.has_global_attention = "global_attention_mask" in arguments  # Longformer
        self.initialise_memory()

    @torch.no_grad()
    def initialise_memory(self) -> None:
        """Give memory the size of word embeddings: not every encoder normalises them (ESM)."""
        words = self.backbone.get_input_embeddings().weight  # type: ignore[operator]
        size = words.float().std() if not words.is_meta else 1.0
        for identity in (self.memory.read_identity, self.memory.write_identity):
            identity.copy_(size * torch.randn_like(identity))
        self.memory_scale.fill_(size)

    def forward(
        self, segment: Segment, memory: Float[Tensor, "b m d"], cache: Cache | None = None
    ) -> Tensor | StepOutput:
        """Read a segment; see ``rmt.SegmentTransformer.forward``."""
        if cache is None:
            return self.read(segment, memory).memory
        return self.read(segment, memory)

    def read(self, segment: Segment, memory: Float[Tensor, "b m d"]) -> StepOutput:
        """Return the memory after a segment, and what the segment wrote before the gate."""
        b = segment.tokens.shape[0]
        own, ended = memory[:b], memory.shape[0] - b
        read = self.memory.drop_memory(own)
        written = self.write(read, *self.token_ids(segment)).to(memory.dtype)
        updated = self.memory.update(own, written)
        if segment.may_be_empty and segment.keep_inside is not None:
            has_token = segment.keep_inside.any(dim=1)[:, None, None]
            updated = torch.where(has_token, updated, own)
        if ended:
            updated = torch.cat([updated, memory[b:]])
            written = F.pad(written, (0, 0, 0, 0, 0, ended))
        return StepOutput(updated, (), written)

    def write(
        self,
        memory: Float[Tensor, "b m d"],
        ids: Integer[Tensor, "b t"],
        is_token: Bool[Tensor, "b t"],
    ) -> Float[Tensor, "b m d"]:
        """Return the states of the write memory after the encoder's layers."""
        m, read = self.config.num_memory_tokens, memory * self.memory_scale
        both = [read + self.memory.read_identity, read + self.memory.write_identity]
        return self._encode(torch.cat(both, dim=1), ids, is_token)[:, m : 2 * m]

    def sum_of_states(self, segment: Segment) -> tuple[Float[Tensor, "b d"], Integer[Tensor, " b"]]:
        """Return the sum of the token states without memory, and how many tokens there are."""
        ids, is_token = self.token_ids(segment)
        hidden: Tensor = self.backbone(input_ids=ids, attention_mask=is_token.long())[0]
        return hidden.masked_fill(~is_token[..., None], 0).sum(dim=1), is_token.sum(dim=1)

    def token_ids(self, segment: Segment) -> tuple[Integer[Tensor, "b t"], Bool[Tensor, "b t"]]:
        """Return the encoder's token ids of a segment of base codes, and where they are real."""
        codes = segment.tokens[:, segment.left : segment.left + segment.length]
        letters = _LETTERS[codes.to(torch.uint8).cpu().numpy()]
        keep = segment.keep_inside
        lengths = [letters.shape[1]] * len(letters) if keep is None else keep.sum(1).tolist()
        rows = self.tokenizer(
            [row[:length].tobytes() for row, length in zip(letters, lengths, strict=True)]
        )
        counts = np.array([len(row) for row in rows])
        ids = np.full((len(rows), self._width(int(counts.max()))), self.pad_id, dtype=np.int64)
        is_token = np.arange(ids.shape[1]) < counts[:, None]
        ids[is_token] = np.concatenate(rows)
        device = segment.tokens.device
        return torch.from_numpy(ids).to(device), torch.from_numpy(is_token).to(device)

    def _width(self, num_tokens: int) -> int:
        """Return how many token positions an input has: for BigBird always the same."""
        positions, num_memory = self.positions, 2 * self.config.num_memory_tokens
        if positions.width == 1:
            return num_tokens
        whole = max(positions.least, num_memory + self.tokenizer.max_tokens)
        return -(-whole // positions.width) * positions.width - num_memory

    def _encode(
        self,
        memories: Float[Tensor, "b two_m d"],
        ids: Integer[Tensor, "b t"],
        is_token: Bool[Tensor, "b t"],
    ) -> Float[Tensor, "b whole d"]:
        """Run the encoder; its first positions have these embeddings in place of words."""
        count = memories.shape[1]
        slots = ids.new_full((len(ids), count), self.placeholder)
        is_slot = torch.ones_like(slots, dtype=torch.bool)
        mask = torch.cat([is_slot, is_token], dim=1).long()
        options = {}
        if self.has_global_attention:
            options["global_attention_mask"] = torch.cat(
                [is_slot, torch.zeros_like(is_token)], dim=1
            ).long()

        def with_memory(_module: nn.Module, _inputs: object, words: Tensor) -> Tensor:
            return torch.cat([memories.to(words.dtype), words[:, count:]], dim=1)

        table: nn.Module = self.backbone.get_input_embeddings()  # type: ignore[operator]
        hook = table.register_forward_hook(with_memory)
        try:
            output = self.backbone(
                input_ids=torch.cat([slots, ids], dim=1), attention_mask=mask, **options
            )
        finally:
            hook.remove()
        hidden: Tensor = output[0]
        return hidden
