"""Base codes to tokens, and to the other strand, for a padded batch on any device.

The twin of ``dna.Tokenizer.encode`` (one NumPy sequence at a time), which the tests hold it to.

Dimensions: b batch, n base pairs, t tokens.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Int, Integer, UInt8
from torch import Tensor

from rmt_genomics.dna import Tokenizer

N = 4  # the code of an unknown base, and of padding


def tokenize(
    tokenizer: Tokenizer, codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"]
) -> tuple[Integer[Tensor, "b t"], Int[Tensor, " b"]]:
    """Turn each row's first ``lengths`` base pairs into tokens.

    Returns:
        Token ids, padded at the end; and the number of tokens of each row.
    """
    if tokenizer.kind == "base":
        return codes, lengths
    k, stride = tokenizer.k, tokenizer.stride
    num_kmers = torch.where(lengths >= k, (lengths - k) // stride + 1, 0)
    covered = torch.where(num_kmers > 0, (num_kmers - 1) * stride + k, 0)
    num_tokens = num_kmers + lengths - covered
    width = int(num_tokens.max())
    kmers = _kmers(codes, k, stride)
    ids = F.pad(kmers, (0, max(0, width - kmers.shape[1])))[:, :width]
    column = torch.arange(width, device=codes.device)
    base = (column + (covered - num_kmers)[:, None]).clamp(0, codes.shape[1] - 1)
    letters = codes.gather(1, base).int() + 4**k
    return torch.where(column < num_kmers[:, None], ids, letters), num_tokens


def _kmers(codes: UInt8[Tensor, "b n"], k: int, stride: int) -> Int[Tensor, "b t"]:
    """Number the k-mers from 0 to 4**k - 1; one that holds an N is the single letter N."""
    count = max(0, (codes.shape[1] - k) // stride + 1)
    ids = torch.zeros(len(codes), count, dtype=torch.int32, device=codes.device)
    has_n = torch.zeros_like(ids, dtype=torch.bool)
    for offset in range(k):
        letter = (
            codes[:, offset : offset + (count - 1) * stride + 1 : stride] if count else codes[:, :0]
        )
        ids = ids * 4 + letter
        has_n |= letter == N
    return ids.masked_fill(has_n, 4**k + N)


def reverse_complement(
    codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"]
) -> UInt8[Tensor, "b n"]:
    """Read the other strand of each row's valid part; the padding stays at the end."""
    complement = torch.where(codes < N, 3 - codes, codes)
    reverse = torch.full_like(codes, N)
    for row, length in enumerate(lengths.tolist()):
        reverse[row, :length] = complement[row, :length].flip(0)
    return reverse
