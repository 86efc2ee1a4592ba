"""A regression on frequencies of the whole sequence, from which the logits of a model start.

It is fitted before the training and then fixed: the network learns what it leaves (as in gradient
boosting: Friedman 2001, doi:10.1214/aos/1013203451). So a model begins as good as counting k-mers.

Padding must be N, which is in no k-mer. Codes may be on another device than the weights.

Dimensions: b batch, n base pairs, f features, c classes.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from rmt_genomics.dna.kmers import canonical_index
from rmt_genomics.model.kmer_features import count_amino_acid_kmers, count_kmers
from rmt_genomics.model.kmer_regression import KmerRegression, KmerSpec

_LARGEST_LOGIT = 20.0  # of a class that no training example, or every one, has


class FeatureRegression(nn.Module):
    """A linear map of the frequencies of k-mers; one logit per class, zero until it is set."""

    weight: Tensor
    bias: Tensor

    def __init__(self, kmers: KmerSpec, num_classes: int) -> None:
        super().__init__()
        self.kmers = kmers
        num_features = kmers.num_features if kmers.orf_codons is not None else 4**kmers.k
        self.register_buffer("weight", torch.zeros(num_features, num_classes))
        self.register_buffer("bias", torch.zeros(num_classes))

    def set_from(
        self, regression: KmerRegression, mean: float = 0.0, std: float = 1.0, *, share: float = 1.0
    ) -> None:
        """Take the weights of a fitted regression on the same k-mers, times ``share``.

        If its outputs are numbers, ``mean`` and ``std`` are those by which they are standardised.
        """
        weight, bias = linear_map(regression, mean, std)
        if self.kmers.orf_codons is None and not self.kmers.is_stranded:
            weight = weight[canonical_index(self.kmers.k)]
        self.weight.copy_(torch.from_numpy(share * weight))
        self.bias.copy_(torch.from_numpy(share * bias))

    def forward(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Return one logit per class for each row."""
        k, orf_codons = self.kmers.k, self.kmers.orf_codons
        if orf_codons is None:
            counts = count_kmers(codes, k)
        else:
            counts = count_amino_acid_kmers(codes, k, orf_codons)
        # In float64 where there is one: weights are large, since frequencies are small.
        precise = torch.float32 if self.weight.device.type == "mps" else torch.float64
        frequencies = counts.to(self.weight.device, precise)
        frequencies = frequencies / frequencies.sum(dim=1, keepdim=True).clamp(min=1)
        if orf_codons is not None:
            frequencies = frequencies.sqrt()
        logits = frequencies @ self.weight.to(precise) + self.bias.to(precise)
        return logits.to(self.weight.dtype)


def linear_map(
    regression: KmerRegression, mean: float = 0.0, std: float = 1.0
) -> tuple[Float[np.ndarray, "f c"], Float[np.ndarray, " c"]]:
    """Return weight and bias of a regression, for frequencies that are not standardised."""
    weight = (regression.coefficients / regression.scale).T
    bias = regression.intercepts - regression.mean @ weight
    limit = np.inf if regression.task == "regression" else _LARGEST_LOGIT
    known = np.where(np.isfinite(bias), bias, np.sign(bias) * limit)
    return weight / std, (known - mean) / std
