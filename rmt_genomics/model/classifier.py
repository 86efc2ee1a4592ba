"""``RMTClassifier``: DNA in, label names and probabilities out; or, for a regression, numbers.

Saved and loaded as a folder of ``config.json`` and ``model.safetensors`` (or a hub id); pickles
are never read.

Dimensions: b batch, n base pairs, c classes, d model width, e width of the encoding.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.errors import ConfigError, DataError
from rmt_genomics.model import saving
from rmt_genomics.model.batching import (
    batches_of_similar_length,
    check_batch,
    encode_each,
    pad,
)
from rmt_genomics.model.composition import Composition
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.heads import HEADS
from rmt_genomics.model.long_records import LONG_BP, encode_long
from rmt_genomics.model.proteins import ProteinComposition
from rmt_genomics.model.strands import BothStrands, Replay
from rmt_genomics.model.tokens import N
from rmt_genomics.model.wide import WideKmers
from rmt_genomics.rmt.modes import evaluating


class RMTClassifier(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="rmt-genomics",
    tags=["dna", "genomics", "recurrent-memory-transformer"],
):
    """A bidirectional Recurrent Memory Transformer over both strands, and a head.

    Args:
        config: Labels, tokens, sizes and switches.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
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
        check_batch(codes, lengths)
        if replay not in (True, False, "auto"):
            raise ValueError(f"replay is {replay!r}, but must be True, False or 'auto'")
        beyond = torch.arange(codes.shape[1], device=codes.device) >= lengths[:, None]
        codes = codes.masked_fill(beyond, N)
        encoding: Tensor = self.encoder(codes, lengths, replay=replay, bptt_depth=bptt_depth)
        return self._with_shared(encoding, codes)

    def _with_shared(self, encoding: Tensor, codes: UInt8[Tensor, "b n"]) -> Tensor:
        """Place what both strands share, if the model reads any of it, behind the strands."""
        shared = self.shared_features(codes)
        return torch.cat([encoding, shared], dim=-1) if shared.shape[1] else encoding

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
        self, codes: Sequence[np.ndarray], *, on_read: Callable[[int], object] = lambda _: None
    ) -> Float[Tensor, "b e"]:
        """Return the encoding of sequences of base codes, as one batch.

        Args:
            codes: At least one sequence. One alone, above ``LONG_BP``, is read a block of segments
                at a time, in little more memory than it has.
            on_read: Called now and then with the bp read since the last time.
        """
        with evaluating(self), torch.inference_mode():
            if len(codes) == 1 and len(codes[0]) > LONG_BP:
                encoding = encode_long(self.encoder, codes[0], on_read=on_read)
                return self._with_shared(encoding, torch.from_numpy(codes[0])[None])
            batch, lengths = pad(codes)
            if self.device.type == "cuda":
                batch, lengths = batch.pin_memory(), lengths.pin_memory()
            encoding = self.features(
                batch.to(self.device, non_blocking=True),
                lengths.to(self.device, non_blocking=True),
            )
        on_read(sum(map(len, codes)))
        return encoding

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

    def save_pretrained(  # type: ignore[override]  # fewer options, each of which works
        self, save_directory: str | Path, *, push_to_hub: bool = False, repo_id: str | None = None
    ) -> str | None:
        """Write ``config.json``, ``model.safetensors`` and a model card, each in one step.

        Args:
            save_directory: Folder, made if needed; a card that is already there is kept.
            push_to_hub: Also upload, to ``repo_id`` or the folder's name.
            repo_id: Where on the hub.
        """
        from safetensors.torch import save_file

        folder = Path(save_directory)
        with saving.staged(folder) as stage:
            config = json.dumps(asdict(self.config), indent=2)
            (stage / saving.CONFIG).write_text(config + "\n", encoding="utf-8")
            save_file(saving.contiguous(self.state_dict()), stage / saving.WEIGHTS)
            if not (folder / "README.md").exists():
                self.generate_model_card().save(stage / "README.md")
        return self.push_to_hub(repo_id or folder.name) if push_to_hub else None

    def push_to_hub(self, repo_id: str, *, private: bool | None = None) -> str:  # type: ignore[override]
        """Upload the model to the Hugging Face hub; return the address of the commit."""
        from huggingface_hub import HfApi

        hub = HfApi()
        name = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(hub.upload_folder(repo_id=name, folder_path=folder))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        device: str | torch.device = "cpu",
        **hub_options: object,
    ) -> "RMTClassifier":
        """Load a model, ready to predict.

        Args:
            pretrained_model_name_or_path: A folder, or a hub id.
            device: Where to put it.
            hub_options: ``revision``, ``token``, ``cache_dir``, ... of ``hf_hub_download``.

        Raises:
            CheckpointError: If files are missing, cut, or of different models.
        """
        source = pretrained_model_name_or_path
        model = cls(saving.read_config(saving.find(source, saving.CONFIG, **hub_options)))
        saving.load_weights(model, saving.find(source, saving.WEIGHTS, **hub_options))
        return model.to(device).eval()
