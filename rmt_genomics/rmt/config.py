"""Size, shape and switches of one Recurrent Memory Transformer.

The names are those of the constructor that users of the published PyTorch RMT know
(``seq_len`` is the segment length in tokens). Everything a saved model needs to be rebuilt is here.
"""

from dataclasses import dataclass

_AT_LEAST_ONE = ("num_tokens", "num_memory_tokens", "dim", "depth", "dim_head", "heads", "seq_len")
_SHARES = ("attn_dropout", "ff_dropout")


@dataclass(frozen=True, slots=True, kw_only=True)
class RMTConfig:
    """Everything needed to rebuild the transformer; checks itself.

    Raises:
        ValueError: If a setting is out of range or two settings contradict each other.
    """

    num_tokens: int
    """Vocabulary size ``v``."""

    num_memory_tokens: int = 128
    """Memory tokens ``m`` carried from one segment to the next."""

    dim: int = 512
    """Model width ``d``: features a token."""

    depth: int = 6
    """Transformer layers."""

    dim_head: int = 64
    """Width ``e`` of an attention head."""

    heads: int = 8
    """Attention heads ``h``; ``heads * dim_head`` need not be ``dim``."""

    seq_len: int = 1024
    """Tokens ``n`` in a segment, memory tokens not counted."""

    causal: bool = True
    """Tokens see only what stands before them (True), or the whole segment (False)."""

    use_flash_attn: bool = True
    """``scaled_dot_product_attention`` (True) or the explicit softmax it is tested against."""

    ff_mult: float = 4.0
    """Hidden width of the feed-forward layer is ``dim * ff_mult * 2 / 3`` (it is gated)."""

    attn_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    ff_dropout: float = 0.0
    """Share of feed-forward features dropped in training."""

    rotary_pos_emb: bool = True
    """Rotary positions on tokens (Su et al. 2021, arXiv:2104.09864)."""

    stem_width: int = 0
    """Tokens seen by the convolution stem over embeddings; odd, 0 = no stem."""

    add_write_to_next_write_mem: bool = False
    """The write side starts from the memory just read (Bulatov et al. 2022), not from a blank."""

    next_write_mem_stop_grad: bool = True
    """Cut the gradient on that path."""

    memory_gate: bool = False
    """A sigmoid gate, biased to remember, between the memory read and the memory written."""

    memory_reset: str = "never"
    """``segment`` forgets the memory before each segment: the control without recurrence."""

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        for name in _SHARES:
            if not 0 <= (share := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {share}, but must be at least 0 and below 1")
        if self.rotary_pos_emb and self.dim_head % 2:
            raise ValueError(
                f"dim_head is {self.dim_head}, but must be even with rotary_pos_emb=True: "
                "rotary positions turn pairs of features"
            )
        if self.stem_width < 0 or (self.stem_width and self.stem_width % 2 == 0):
            raise ValueError(f"stem_width is {self.stem_width}, but must be odd, or 0 for no stem")
        if self.memory_reset not in ("never", "segment"):
            raise ValueError(
                f"memory_reset is {self.memory_reset!r}, but must be 'never' or 'segment'"
            )
        if self.ff_inner < 1:
            raise ValueError(
                f"ff_mult is {self.ff_mult}, but must leave dim * ff_mult * 2 / 3 >= 1 feature"
            )

    @property
    def ff_inner(self) -> int:
        """Hidden features of the gated feed-forward layer."""
        return int(self.dim * self.ff_mult * 2 / 3)

    @property
    def halo(self) -> tuple[int, int]:
        """Neighbouring tokens (left, right) of a segment that the stem must see."""
        if not self.stem_width:
            return 0, 0
        return (self.stem_width - 1, 0) if self.causal else (self.stem_width // 2,) * 2
