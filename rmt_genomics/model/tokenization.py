"""Base codes to tokens, and to the other strand, for a padded batch on any device.

The batched version of ``dna.Tokenizer.encode`` (one NumPy sequence at a time): the tests compare
them. Nothing here waits for the device more than once, and one row of many Mb needs little more
memory than its result.

Dimensions: b batch, n base pairs, t tokens.
"""

import torch
from jaxtyping import Int, Integer, UInt8
from torch import Tensor

from rmt_genomics.dna import Tokenizer

N = 4  # the code of an unknown base, and of padding

BP_AT_ONCE = 1 << 18  # positions are eight bytes each: so many are held at a time


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device, without waiting for a GPU: that needs pinned memory."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def tokenize(
    tokenizer: Tokenizer, codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"]
) -> tuple[Integer[Tensor, "b t"], Int[Tensor, " b"]]:
    """Return the token ids of each row's first ``lengths`` base pairs, and how many there are."""
    if tokenizer.kind == "base":
        return codes, lengths
    k, stride = tokenizer.k, tokenizer.stride
    num_kmers = torch.where(lengths >= k, (lengths - k) // stride + 1, 0)
    covered = torch.where(num_kmers > 0, (num_kmers - 1) * stride + k, 0)
    num_tokens = num_kmers + lengths - covered
    width = int(num_tokens.max())
    count = min(max(0, (codes.shape[1] - k) // stride + 1), width)
    ids = torch.zeros(len(codes), width + k, dtype=torch.int32, device=codes.device)
    number_kmers(ids[:, :count], codes, k, stride)
    tail = torch.arange(k, device=codes.device)  # at most k - 1 letters follow the last k-mer
    letters = codes.gather(1, (covered[:, None] + tail).clamp(max=codes.shape[1] - 1))
    ids.scatter_(1, num_kmers[:, None] + tail, letters.int() + 4**k)
    return ids[:, :width], num_tokens


def number_kmers(ids: Int[Tensor, "b t"], codes: UInt8[Tensor, "b n"], k: int, stride: int) -> None:
    """Number the k-mers from 0 to 4**k - 1, in place; one that holds an N is the token of N."""
    has_n = torch.zeros_like(ids, dtype=torch.bool)
    for offset in range(k if ids.shape[1] else 0):
        base = codes[:, offset : offset + (ids.shape[1] - 1) * stride + 1 : stride]
        ids.mul_(4).add_(base)
        has_n |= base == N
    ids.masked_fill_(has_n, 4**k + N)


def reverse_complement(
    codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"]
) -> UInt8[Tensor, "b n"]:
    """Return the other strand of each row, 5' to 3'; the padding stays at the end."""
    reverse = torch.empty_like(codes)
    at_once = max(1, BP_AT_ONCE // len(codes))
    for start in range(0, codes.shape[1], at_once):
        block = reverse[:, start : start + at_once]
        column = torch.arange(start, start + block.shape[1], device=codes.device)
        position = lengths[:, None] - 1 - column  # on the forward strand; negative in the padding
        base = codes.gather(1, position.clamp(min=0))
        block.copy_(torch.where((position >= 0) & (base < N), 3 - base, N))
    return reverse
