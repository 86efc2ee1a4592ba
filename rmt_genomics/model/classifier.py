"""``RMTClassifier``: DNA in, label names and probabilities out; or, for a regression, numbers.

Each level of input has a function for the encoding and one for the prediction:

==================================  ================  ===================================
Input                               Encoding          Prediction
==================================  ================  ===================================
a batch of tensors (with gradient)  ``encode``        ``forward``
a batch of base-code arrays         ``embed_codes``   ``predict_codes``
any number of strings               ``embed``         ``predict_proba``, ``predict``
a file of sequences                                   ``predict_table``
==================================  ================  ===================================

How a model is saved and loaded is in ``pretrained``.

Dimensions: b batch, n base pairs, c classes, d model width, f features of the whole sequence.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.dna.alphabet import check_codes
from rmt_genomics.errors import ConfigError
from rmt_genomics.model.batching import compute_in_batches, encode_sequences, mask_padding, pad
from rmt_genomics.model.bidirectional_encoder import LONG_BP, BothStrands, Replay, encode_long
from rmt_genomics.model.config import PRETRAINING, ClassifierConfig
from rmt_genomics.model.features import LARGEST_K
from rmt_genomics.model.heads import HEADS, HiddenLayer
from rmt_genomics.model.kmer_features import Composition, HashedKmerLinear, ProteinComposition
from rmt_genomics.model.kmer_regression import FeatureRegression, KmerSpec
from rmt_genomics.model.masked_bases import BaseHead
from rmt_genomics.model.metrics import predicted_classes
from rmt_genomics.model.pretrained import Pretrained
from rmt_genomics.rmt.runtime import evaluating

if TYPE_CHECKING:
    import pandas as pd

_MAX_NAMES = 5  # classes that ``repr`` names
OnRead = Callable[[int], object]


class Encoding(NamedTuple):
    """What a model computes of each sequence of a batch, before the head."""

    strands: Float[Tensor, "b two_d"]  # pooled memories of both strands: ``[forward | reverse]``
    features: Float[Tensor, "b f"] | None
    """Features of the whole sequence, ``[k-mers | stranded k-mers | proteins]``; None if there are
    none. Equal on both strands; but of stranded k-mers, ``[forward | reverse]``, the reverse
    complement swaps the halves."""

    linear_logits: Float[Tensor, "b c"] | None
    """Logits of the hashed k-mer linear model and of the feature regressions, added to those of the
    head; None if it has none."""

    def concatenated(self) -> Float[Tensor, "b e"]:
        """Return all parts side by side, in the order of the fields."""
        return torch.cat([part for part in self if part is not None], dim=-1)


class RMTClassifier(Pretrained):
    """A bidirectional Recurrent Memory Transformer over both strands, and a head.

    Args:
        config: Labels, tokens, sizes and switches.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        # The attribute names are the tensor names of saved models.
        self.encoder = BothStrands(
            config.tokenizer, config.rmt(), config.pooling, config.readout, config.backbone
        )
        self.dropout = nn.Dropout(config.dropout)
        dim, num_classes = config.dim, len(config.classes)
        linear = config.regression_features
        self.regressions: nn.ModuleList | None = None
        if linear:
            specs = [KmerSpec.of(each, config.orf_codons) for each in linear.values()]
            self.regressions = nn.ModuleList(FeatureRegression(s, num_classes) for s in specs)
        trained = {kind: f for kind, f in config.features_by_kind.items() if kind not in linear}
        kmer, stranded, protein, wide = map(trained.get, LARGEST_K)
        self.composition = Composition(kmer.k, dim) if kmer else None
        self.stranded = Composition(stranded.k, dim, is_stranded=True) if stranded else None
        self.proteins = ProteinComposition(protein.k, config.orf_codons, dim) if protein else None
        self.wide = HashedKmerLinear(wide.ks, num_classes) if wide else None
        self.hidden: HiddenLayer | None = None
        if config.task == PRETRAINING:
            self.head: nn.Module = BaseHead(dim, config.stem_pool)
            return
        if config.head_layers > 1:
            self.hidden = HiddenLayer(dim)
        self.head = HEADS[config.strand_head](dim, num_classes, config.num_sequence_features)

    def __repr__(self) -> str:
        """Return the task and the sizes in one line; ``print(model.encoder)`` lists the modules."""
        config, names = self.config, list(self.classes_)
        if len(names) > _MAX_NAMES:
            names = [*names[:_MAX_NAMES], f"and {len(names) - _MAX_NAMES} more"]
        num_weights = sum(each.numel() for each in self.parameters())
        labels = f": {', '.join(names)}" if names else ""
        return (
            f"{type(self).__name__}({config.task}{labels}; dim {config.dim}, depth "
            f"{config.depth}, segments of {config.segment_bp:,} bp, "
            f"{config.num_memory_tokens} memory tokens, {num_weights:,} weights, on {self.device})"
        )

    @property
    def classes_(self) -> tuple[str, ...]:
        """Label names, in the order of logits and probabilities (a regression has one name)."""
        return self.config.classes

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(
        self,
        codes: UInt8[Tensor, "b n"],
        lengths: Int[Tensor, " b"] | Sequence[int] | np.ndarray,
        *,
        replay: Replay = "auto",
        bptt_depth: int | None = None,
    ) -> Float[Tensor, "b c"]:
        """Return one logit per class for each sequence.

        Args:
            codes: Base codes (A 0, C 1, G 2, T 3, N 4), forward strand, padded at the end.
            lengths: Base pairs of each row; what is beyond is never read.
            replay: Keep one segment's activations at a time in training (True), those of all
                (False), or, beyond a few segments, of as many as a quarter of the free memory
                holds ("auto"). Changes memory and time, never the result.
            bptt_depth: Segments a gradient crosses; None = all.

        Raises:
            ValueError: If shapes do not fit, a length is below 1 or beyond the codes, or a code is
                none, naming its row and 0-based position.
        """
        return self.logits(self.encode(codes, lengths, replay=replay, bptt_depth=bptt_depth))

    def encode(
        self,
        codes: UInt8[Tensor, "b n"],
        lengths: Int[Tensor, " b"] | Sequence[int] | np.ndarray,
        *,
        replay: Replay = "auto",
        bptt_depth: int | None = None,
    ) -> Encoding:
        """Return the encoding of each sequence; arguments as for ``forward``."""
        if replay not in (True, False, "auto"):
            raise ValueError(f"replay is {replay!r}, but must be True, False or 'auto'")
        lengths = torch.as_tensor(lengths, device=codes.device)
        if lengths.dtype != torch.bool and not lengths.is_floating_point():
            lengths = lengths.long()  # of NumPy's unsigned numbers, torch has no minimum
        codes = mask_padding(codes, lengths)
        strands = self.encoder(codes, lengths, replay=replay, bptt_depth=bptt_depth)
        return Encoding(strands, *self.sequence_features(codes))

    def sequence_features(
        self, codes: UInt8[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b f"] | None, Float[Tensor, "b c"] | None]:
        """Return what does not depend on the memory: ``features`` and ``linear_logits``.

        Padding must be N; codes may be on another device than the weights.
        """
        modules = (self.composition, self.stranded, self.proteins)
        parts = [module(codes) for module in modules if module is not None]
        features = torch.cat(parts, dim=-1) if parts else None
        linear = [] if self.wide is None else [self.wide(codes)]
        if self.regressions is not None:
            linear.append(self.regression_logits(codes))
        return features, sum(linear[1:], linear[0]) if linear else None

    def regression_logits(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Return the part of the feature regressions in the logits; padding must be N."""
        assert self.regressions is not None
        logits: Tensor = torch.stack([each(codes) for each in self.regressions]).sum(dim=0)
        return logits

    def logits(self, encoding: Encoding) -> Float[Tensor, "b c"]:
        """Return one logit per class; in training with dropout of what the head reads."""
        self.config.check_has_classes(self.folder or type(self).__name__)
        strands, features, linear_logits = encoding
        if self.hidden is not None:
            strands = self.hidden(strands)
        head_input = strands if features is None else torch.cat([strands, features], dim=-1)
        head_input = self.dropout(head_input)
        if linear_logits is not None:
            # A view into a wider tensor: with other strides saved models would round otherwise.
            wider = torch.cat([head_input, linear_logits], dim=-1)
            head_input = wider[:, : head_input.shape[1]]
        logits: Tensor = self.head(head_input)
        return logits if linear_logits is None else logits + linear_logits

    def outputs(self, logits: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """Turn logits into probabilities, or for a regression into values in the label's unit.

        The probabilities of a multi-label model are independent; others add up to 1.
        """
        logits = logits.double() if logits.device.type != "mps" else logits.float()
        if self.config.task == "regression":
            return logits * self.config.target_std + self.config.target_mean
        return logits.sigmoid() if self.config.task == "multilabel" else logits.softmax(dim=-1)

    def predict(
        self, sequences: Iterable[Any], *, batch_size: int | None = None
    ) -> list[str] | list[float]:
        """Return the label name of each sequence; several joined by ``;`` when multi-label.

        A regression returns the value of each sequence, in the label's unit. The arguments are
        those of ``predict_proba``.
        """
        width = len(self.classes_)
        outputs = self._in_batches(
            "predict", sequences, self.predict_codes, width, batch_size=batch_size
        )
        if self.config.task == "regression":
            return [float(value) for value in outputs[:, 0]]
        return [self.label_of(row) for row in outputs]

    def predict_proba(
        self, sequences: Iterable[Any], *, calibrated: bool = False, batch_size: int | None = None
    ) -> np.ndarray:
        """Return the probability of each class, one row per sequence, in the order given.

        Args:
            sequences: DNA letters, 5' to 3', of any length from 1 bp: strings, ``Bio.Seq`` or
                ``SeqRecord``, in a list, a pandas Series, a NumPy array or an iterator.
            calibrated: Return the temperature-scaled probabilities, by the ``calibration.json`` of
                the folder that the model was loaded from.
            batch_size: Most sequences that are computed together; None = 64. Fewer, if they are
                long. It changes memory and time, not the result.

        Returns:
            ``(n, classes)`` float64.

        Raises:
            DataError: If a sequence is empty or holds a letter that is not a base.
            ConfigError: If the model is a regression (use ``predict``), or has no folder.
            CheckpointError: If the folder has no calibration.
        """
        if self.config.task == "regression":
            raise ConfigError(
                f"predict_proba: the model is a regression of {self.classes_[0]!r}, but only a "
                "model of classes has probabilities. Use predict, which returns the values."
            )
        calibration = None
        if calibrated:  # looked for before the work is done
            from rmt_genomics.prediction.calibration import calibration_of

            calibration = calibration_of(self)
        width = len(self.classes_)
        rows = self._in_batches(
            "predict_proba", sequences, self.predict_codes, width, batch_size=batch_size
        )
        return rows if calibration is None else calibration.apply(rows)

    def predict_table(
        self, fasta: str | Path, *, calibrated: bool = False, batch_size: int | None = None
    ) -> "pd.DataFrame":
        """Return the predictions for a file as a table with the columns of ``predict``.

        They are ``record``, ``length`` (bp), ``label``, ``score``, ``prob_<class>`` for each class
        and ``note``; of a regression ``record``, ``length``, ``prediction`` and ``note``. There is
        one row per record, in the order of the file. What is not available (of a record without a
        known base, say) is missing: NaN. Needs the package pandas.

        Args:
            fasta: A file, or a folder of files, of any kind that ``rmt-genomics predict`` reads.
            calibrated: As for ``predict_proba``.
            batch_size: As for ``predict_proba``.
        """
        from rmt_genomics.prediction.run import predict_table

        return predict_table(self, fasta, calibrated=calibrated, batch_size=batch_size)

    def embed(self, sequences: Iterable[Any], *, batch_size: int | None = None) -> np.ndarray:
        """Return the encoding of each sequence, ``(n, 2 * dim)`` float32: forward, then reverse.

        After them come the features of the whole sequence that the model reads: ``dim`` of k-mers,
        ``2 * dim`` of stranded k-mers (forward, then reverse), ``dim`` of proteins, and one per
        class if it has a linear model of hashed k-mers. Where regressions on features are added to
        the logits (``feature_head``), only one per class.

        Args:
            sequences: As for ``predict_proba``.
            batch_size: As for ``predict_proba``.
        """
        width = self.config.encoding_width
        return self._in_batches(
            "embed", sequences, self.embed_codes, width, dtype=np.float32, batch_size=batch_size
        )

    def _in_batches(
        self,
        caller: str,
        sequences: Iterable[Any],
        compute: Callable[[list[np.ndarray]], np.ndarray],
        width: int,
        **options: Any,
    ) -> np.ndarray:
        """Encode sequences and compute one row for each; ``options`` of ``compute_in_batches``."""
        codes = encode_sequences(sequences, caller=caller)
        return compute_in_batches(
            [len(sequence) for sequence in codes],
            lambda batch: compute([codes[index] for index in batch]),
            (width,),
            **options,
        )

    def predict_codes(
        self, codes: Sequence[np.ndarray], *, on_read: OnRead = lambda _: None
    ) -> np.ndarray:
        """Return the probabilities ``(b, c)`` of sequences of base codes, computed as one batch.

        Those of a regression are values, ``(b, 1)``, in the label's unit.

        Args:
            codes: At least one sequence. A single one above ``LONG_BP`` is read a block of
                segments at a time, in little more memory than it takes itself.
            on_read: Called now and then with the bp read since the last call.
        """
        with evaluating(self), torch.inference_mode():
            logits = self.logits(self._encode_codes(codes, on_read))
            outputs: np.ndarray = self.outputs(logits).cpu().double().numpy()
        return outputs

    def embed_codes(
        self, codes: Sequence[np.ndarray], *, on_read: OnRead = lambda _: None
    ) -> np.ndarray:
        """Return the rows of ``embed`` for sequences of base codes; see ``predict_codes``."""
        with evaluating(self), torch.inference_mode():
            encoding = self._encode_codes(codes, on_read).concatenated()
            rows: np.ndarray = encoding.float().cpu().numpy()
        return rows

    def _encode_codes(self, codes: Sequence[np.ndarray], on_read: OnRead) -> Encoding:
        if len(codes) == 1 and len(codes[0]) > LONG_BP:
            long_codes = check_codes(codes[0])
            batch = torch.from_numpy(long_codes)[None]  # stays on the CPU: only blocks are moved
            strands = encode_long(self.encoder, long_codes, on_read=on_read)
        else:
            batch, lengths = pad(codes, self.device)
            strands = self.encoder(batch, lengths, replay="auto", bptt_depth=None)
            on_read(sum(map(len, codes)))
        return Encoding(strands, *self.sequence_features(batch))

    def label_of(self, outputs: np.ndarray) -> str:
        """Return the label of one row of outputs: the most probable class.

        Of a multi-label model all classes of at least 0.5, joined by ``;``; of a regression the
        value as text. If the model has thresholds, they decide instead.
        """
        if self.config.task == "regression":
            return f"{outputs[0]:.6g}"
        (called,) = predicted_classes(outputs[None], self.config.task, self.config.thresholds)
        return ";".join(compress(self.classes_, called))
