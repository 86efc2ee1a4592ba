"""``RMTClassifier``: DNA in, label names and probabilities out; or, for a regression, numbers.

How it is saved and loaded stands in ``pretrained``.

Dimensions: b batch, n base pairs, c classes, d model width, e width of the encoding.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.errors import ConfigError, DataError
from rmt_genomics.model.batching import (
    batches_of_similar_length,
    check_batch,
    encode_each,
    ending_in_n,
    pad,
)
from rmt_genomics.model.bidirectional_encoder import LONG_BP, BothStrands, Replay, encode_long
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.heads import HEADS
from rmt_genomics.model.kmer_features import Composition, ProteinComposition, WideKmers
from rmt_genomics.model.pretrained import Pretrained
from rmt_genomics.rmt.runtime import evaluating


class RMTClassifier(Pretrained):
    """A bidirectional Recurrent Memory Transformer over both strands, and a head.

    Args:
        config: Labels, tokens, sizes and switches.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.encoder = BothStrands(config.tokenizer, config.rmt(), config.pooling)
        self.dropout = nn.Dropout(config.dropout)
        self.composition = (
            Composition(config.composition_k, config.dim) if config.composition_k else None
        )
        self.proteins = (
            ProteinComposition(config.protein_k, config.orf_codons, config.dim)
            if config.protein_k
            else None
        )
        self.wide = WideKmers(config.wide_k, len(config.classes)) if config.wide_k else None
        shared = config.learned_width - 2 * config.dim
        self.head = HEADS[config.strand_head](
            config.dim, len(config.classes), shared, ready=config.wide_width
        )

    @property
    def classes_(self) -> tuple[str, ...]:
        """Label names, in the order of logits and probabilities (a regression has one name)."""
        return self.config.classes

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def features(
        self,
        codes: UInt8[Tensor, "b n"],
        lengths: Int[Tensor, " b"],
        *,
        replay: Replay = "auto",
        bptt_depth: int | None = None,
    ) -> Float[Tensor, "b e"]:
        """Return the encoding ``[forward | reverse]``; arguments as for calling.

        Behind it stands, where the model reads it, the composition of k-mers, then that of
        proteins, then the logits of single k-mers.
        """
        codes = ending_in_n(codes, lengths)
        strands = self._strands(codes, lengths, replay=replay, bptt_depth=bptt_depth)
        return self._with_shared(strands, codes)

    def _with_shared(self, strands: Tensor, codes: UInt8[Tensor, "b n"]) -> Tensor:
        """Place what both strands share, if the model reads any of it, behind the strands."""
        shared = self.shared_features(codes)
        return torch.cat([strands, shared], dim=-1) if shared.shape[1] else strands

    def _strands(
        self,
        codes: UInt8[Tensor, "b n"],
        lengths: Int[Tensor, " b"],
        *,
        replay: Replay = "auto",
        bptt_depth: int | None = None,
    ) -> Float[Tensor, "b two_d"]:
        """Return the encoding ``[forward | reverse]`` alone, of codes that end in N."""
        if replay not in (True, False, "auto"):
            raise ValueError(f"replay is {replay!r}, but must be True, False or 'auto'")
        encoding: Tensor = self.encoder(codes, lengths, replay=replay, bptt_depth=bptt_depth)
        return encoding

    def shared_features(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b s"]:
        """Return what both strands share: compositions, and logits of single k-mers; or nothing."""
        modules = (self.composition, self.proteins, self.wide)
        parts = [module(codes) for module in modules if module is not None]
        if not parts:
            return torch.empty(len(codes), 0, device=self.device)
        return torch.cat(parts, dim=-1)

    def forward(
        self,
        codes: UInt8[Tensor, "b n"],
        lengths: Int[Tensor, " b"],
        *,
        replay: Replay = "auto",
        bptt_depth: int | None = None,
    ) -> Float[Tensor, "b c"]:
        """Return one logit a class for each sequence.

        Args:
            codes: Base codes (A 0, C 1, G 2, T 3, N 4), forward strand, padded at the end.
            lengths: Base pairs of each row; what stands beyond is never read.
            replay: Keep one segment's activations at a time in training (True), those of all
                (False), or, beyond a few segments, of as many as a quarter of the free memory
                holds ("auto"). Changes memory and time, never the answer.
            bptt_depth: Segments a gradient crosses; None = all.

        Raises:
            ValueError: If shapes do not fit, or a length is below 1 or beyond the codes.
        """
        encoding = self.features(codes, lengths, replay=replay, bptt_depth=bptt_depth)
        learned, ready = encoding.tensor_split([self.config.learned_width], dim=-1)
        logits: Tensor = self.head(torch.cat([self.dropout(learned), ready], dim=-1))
        return logits

    def probabilities(self, logits: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """Turn logits into probabilities: one label a sequence, or each label by itself.

        Raises:
            ConfigError: If the model is a regression, which has none.
        """
        if self.config.task == "regression":
            raise ConfigError(
                f"the model is a regression of {self.classes_[0]!r}: it has no probabilities, but "
                "values. Use predict."
            )
        logits = logits.double() if logits.device.type != "mps" else logits.float()
        return logits.sigmoid() if self.config.task == "multilabel" else logits.softmax(dim=-1)

    def answers(self, logits: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """Turn logits into probabilities, or for a regression into values in the label's unit."""
        if self.config.task != "regression":
            return self.probabilities(logits)
        logits = logits.double() if logits.device.type != "mps" else logits.float()
        return logits * self.config.target_std + self.config.target_mean

    def predict_proba(self, sequences: Sequence[str]) -> np.ndarray:
        """Return the probability of each class, one row a sequence, in the order given.

        Args:
            sequences: DNA letters, 5' to 3', of any length from 1 bp.

        Returns:
            ``(n, classes)`` float64.

        Raises:
            DataError: If a sequence is empty or holds a letter that is no base.
            ConfigError: If the model is a regression: use ``predict``.
        """
        if self.config.task == "regression":
            raise ConfigError(
                f"predict_proba: the model is a regression of {self.classes_[0]!r}, but only a "
                "model of classes has probabilities. Use predict, which returns the values."
            )
        return self._of_each(sequences, "predict_proba", len(self.classes_), self.predict_codes)

    def _of_each(
        self,
        sequences: Sequence[str],
        called: str,
        width: int,
        compute: Callable[[Sequence[np.ndarray]], np.ndarray | Tensor],
    ) -> np.ndarray:
        """Return what ``compute`` gives for each sequence; ``called`` is what the user called."""
        if isinstance(sequences, str):
            raise DataError(
                f"{called}: got one string, but needs a list of strings. Wrap it: [sequence]."
            )
        codes = [encode_each(sequence, place) for place, sequence in enumerate(sequences)]
        rows = np.empty((len(codes), width), dtype=np.float64 if called != "embed" else np.float32)
        for batch in batches_of_similar_length([len(each) for each in codes]):
            found = compute([codes[place] for place in batch])
            rows[batch] = found.float().cpu().numpy() if isinstance(found, Tensor) else found
        return rows

    def predict_codes(self, codes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the probability of each class for sequences of base codes, as one batch.

        Those of a regression are values, ``(n, 1)``, in the label's unit.
        """
        with torch.inference_mode():
            logits: Tensor = self.head(self.encode_codes(codes))
            answers: np.ndarray = self.answers(logits).cpu().double().numpy()
        return answers

    def embed(self, sequences: Sequence[str]) -> np.ndarray:
        """Return the encoding of each sequence, ``(n, 2 * dim)`` float32: forward, then reverse.

        Behind them stand the compositions that the model reads, ``dim`` features each, and one
        feature a class if it has a weight for each k-mer.

        Args:
            sequences: As for ``predict_proba``.
        """
        return self._of_each(sequences, "embed", self.config.encoding_width, self.encode_codes)

    def encode_codes(
        self,
        codes: Sequence[np.ndarray],
        *,
        shared: bool = True,
        on_read: Callable[[int], object] = lambda _: None,
    ) -> Float[Tensor, "b e"]:
        """Return the encoding of sequences of base codes, as one batch.

        Args:
            codes: At least one sequence. One alone, above ``LONG_BP``, is read a block of segments
                at a time, in little more memory than it has.
            shared: Whether what both strands share stands behind them, where the model reads it.
            on_read: Called now and then with the bp read since the last time.
        """
        with evaluating(self), torch.inference_mode():
            if len(codes) == 1 and len(codes[0]) > LONG_BP:
                batch = torch.from_numpy(codes[0])[None]
                encoding = encode_long(self.encoder, codes[0], on_read=on_read)
            else:
                batch, lengths = self._on_device(codes)
                encoding = self._strands(batch, lengths)
                on_read(sum(map(len, codes)))
            return self._with_shared(encoding, batch) if shared else encoding

    def _on_device(self, codes: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Return codes as one batch that ends in N, and their lengths, where the model is."""
        batch, lengths = pad(codes)
        check_batch(batch, lengths)  # here, where no device has to be waited for
        if self.device.type == "cuda":
            batch, lengths = batch.pin_memory(), lengths.pin_memory()
        return (
            batch.to(self.device, non_blocking=True),
            lengths.to(self.device, non_blocking=True),
        )

    def predict(self, sequences: Sequence[str]) -> list[str] | list[float]:
        """Return the label name of each sequence; several joined by ``;`` when multi-label.

        A regression returns the value of each sequence, in the label's unit.
        """
        answers = self._of_each(sequences, "predict", len(self.classes_), self.predict_codes)
        if self.config.task == "regression":
            return [float(value) for value in answers[:, 0]]
        return [self.label_of(row) for row in answers]

    def label_of(self, probabilities: np.ndarray) -> str:
        """Name the label: the most probable, or all at 0.5 and above joined by ``;``.

        That of a regression is the value as text.
        """
        if self.config.task == "regression":
            return f"{probabilities[0]:.6g}"
        if self.config.task == "multilabel":
            pairs = zip(self.classes_, probabilities, strict=True)
            return ";".join(name for name, probability in pairs if probability >= 0.5)
        return self.classes_[int(probabilities.argmax())]
