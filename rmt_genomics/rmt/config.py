"""Size, shape and switches of one Recurrent Memory Transformer.

The names are those of the constructor that users of the published PyTorch RMT know
(``seq_len`` is the segment length in tokens). Everything a saved model needs to be rebuilt is here.
"""

from dataclasses import dataclass

from rmt_genomics.rmt.rules import check_config


@dataclass(frozen=True, slots=True, kw_only=True)
class RMTConfig:
    """Everything needed to rebuild the transformer; checks itself.

    Raises:
        ValueError: If a setting is out of range, contradicts another, or would have no effect.
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

    memory_not_causal: bool = True
    """In a causal model: read memory rows see each other (True), or only earlier ones."""

    use_flash_attn: bool = True
    """``scaled_dot_product_attention`` (True) or the explicit softmax it is tested against."""

    ff_mult: float = 4.0
    """Hidden width of the feed-forward layer is ``dim * ff_mult * 2 / 3`` (it is gated)."""

    attn_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    ff_dropout: float = 0.0
    """Share of feed-forward features dropped in training."""

    stem_dropout: float = 0.0
    """Share of the convolution stem's features dropped in training."""

    memory_dropout: float = 0.0
    """Share of sequences whose whole memory is hidden from a segment in training."""

    rotary_pos_emb: bool = True
    """Rotary positions on tokens (Su et al. 2021, arXiv:2104.09864)."""

    abs_pos_emb: bool = False
    """A learned vector for each place in a segment (Vaswani et al. 2017, section 3.5)."""

    rel_pos_bias: bool = False
    """A learned bias for each distance between tokens (T5: Raffel et al. 2020, section 2.1)."""

    token_shift: bool = False
    """Half of each token's features come from the token before (RWKV: Peng et al. 2023)."""

    stem_width: int = 0
    """Tokens seen by the convolution stem over embeddings; odd, 0 = no stem."""

    stem_pool: int = 1
    """Neighbouring tokens that the stem merges into one row: the strongest answer of each filter
    among them. A segment is then ``seq_len * stem_pool`` tokens; only where no token output is
    wanted."""

    use_xl_memories: bool = False
    """Cache keys and values of earlier segments (Transformer-XL: Dai et al. 2019)."""

    xl_mem_len: int | None = None
    """Tokens in that cache; None = ``seq_len``."""

    enhanced_xl_recurrence: bool = False
    """A layer reads the cache of the layer above (ERNIE-Doc: Ding et al. 2021, section 3.2)."""

    add_write_to_next_write_mem: bool = False
    """The write side starts from the memory just read (Bulatov et al. 2022), not from a blank."""

    next_write_mem_stop_grad: bool = True
    """Cut the gradient on that path."""

    always_have_read_memories: bool = True
    """The first segment has read rows too, holding the identities of the memory slots."""

    memory_gate: bool | str = False
    """A sigmoid gate, biased to remember, between the memory read and the memory written; ``hard``
    can shut it wholly, so that a segment without news leaves the memory bit for bit."""

    memory_norm: bool = False
    """Bring the memory carried on to unit root mean square, so that it cannot grow or fade."""

    memory_reset: str = "never"
    """``segment`` forgets the memory before each segment: the control without recurrence."""

    emb_gradient_frac: float = 1.0
    """Share of the gradient that reaches the embeddings (CogView: Ding et al. 2021)."""

    ff_norm: bool = False
    """Normalise inside the feed-forward layer (NormFormer: Shleifer et al. 2021)."""

    qk_norm: bool = False
    """Normalise queries and keys, head by head (Henry et al. 2020, arXiv:2010.04245)."""

    value_residual: bool = False
    """Mix the first layer's values into later layers (Zhou et al. 2024, arXiv:2410.17897)."""

    null_key_value: bool = False
    """A learned key and value in each layer, so that a row may attend to nothing."""

    num_residual_streams: int = 1
    """Hyper-connections (Zhu et al. 2024, arXiv:2409.19606); above 1 needs the extra ``hyper``."""

    ignore_index: int = -1
    """A label that counts for nothing in the loss."""

    def __post_init__(self) -> None:
        check_config(self)

    @property
    def ff_inner(self) -> int:
        """Hidden features of the gated feed-forward layer."""
        return int(self.dim * self.ff_mult * 2 / 3)

    @property
    def tokens_a_segment(self) -> int:
        """Tokens read in one segment: ``seq_len`` rows, each of ``stem_pool`` tokens."""
        return self.seq_len * self.stem_pool

    @property
    def xl_length(self) -> int:
        """Tokens in the cache of each layer; 0 without XL memories."""
        return (self.xl_mem_len or self.seq_len) if self.use_xl_memories else 0

    @property
    def halo(self) -> tuple[int, int]:
        """Neighbouring tokens (left, right) of a segment that the stem must see."""
        if not self.stem_width:
            return 0, 0
        return (self.stem_width - 1, 0) if self.causal else (self.stem_width // 2,) * 2
