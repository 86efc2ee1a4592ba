"""A trained classifier as files that run without this package: ONNX, or programs of torch.export.

Both are two programs (``programs``), one for a segment and one for the head, and ``model.json``
with what the loop over segments needs. Beside the ONNX files lies that loop, ``run_onnx.py``: it
needs onnxruntime and NumPy only. It is run once, and compared with the model.
"""

import copy
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from rmt_genomics import __version__
from rmt_genomics.atomic_io import staged_files
from rmt_genomics.errors import ConfigError, RMTGenomicsError
from rmt_genomics.export.programs import CODONS_AT_LEAST, HeadProgram, SegmentProgram
from rmt_genomics.locks import check_new_folder, check_replaceable, locked
from rmt_genomics.model import RMTClassifier
from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.notes import NOTES
from rmt_genomics.prediction.output_formats import PredictionTable
from rmt_genomics.prediction.training_range import TrainingRange
from rmt_genomics.rmt import SegmentTransformer

SETTINGS, RUNNER = "model.json", "run_onnx.py"
ONNX_FILES = ("segment.onnx", "head.onnx", RUNNER, SETTINGS)
TORCH_FILES = ("segment.pt2", "head.pt2", SETTINGS)
MADE_BY = "rmt-genomics export"
TOLERANCE = 1e-4  # of probabilities

_MOST_ROWS, _MOST_BP = 1 << 20, 1 << 40
Program = torch.export.ExportedProgram


def export_onnx(
    model: RMTClassifier | str | Path, folder: str | Path, *, overwrite: bool = False
) -> None:
    """Write a classifier as ONNX, with a program that predicts the records of FASTA files.

    Needs the extra ``onnx``.

    Args:
        model: A classifier, or the folder of one; its calibration and the composition of its
            training examples are taken from the folder that it was loaded from.
        folder: Where ``segment.onnx``, ``head.onnx``, ``model.json`` and ``run_onnx.py`` go.
        overwrite: Replace the files of an earlier export in it.

    Raises:
        ConfigError: If the folder is in use, a package is missing, or the model cannot be exported.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        from rmt_genomics.export import onnx_runner
    except ImportError as error:
        raise ConfigError(
            f"export to ONNX needs the package {error.name}, which is not installed. Install it: "
            "pip install 'rmt-genomics[onnx]'."
        ) from error

    def write(exported: Exported, stage: Path) -> None:
        for name, program, inputs, outputs in exported.programs():
            made: Any = torch.onnx.export(
                program, dynamo=True, input_names=inputs, output_names=outputs, verbose=False
            )
            made.save(stage / f"{name}.onnx")
        shutil.copyfile(onnx_runner.__file__, stage / RUNNER)
        runner = onnx_runner.Model(stage, threads=1)
        check_outputs(exported.model, runner.outputs)

    _export(model, Path(folder), write, ONNX_FILES, option="--onnx", overwrite=overwrite)


def export_torch(
    model: RMTClassifier | str | Path, folder: str | Path, *, overwrite: bool = False
) -> None:
    """Write a classifier as programs of ``torch.export``, for PyTorch without this package.

    Arguments and errors are those of ``export_onnx``; the files are ``segment.pt2``, ``head.pt2``
    and ``model.json``.
    """

    def write(exported: Exported, stage: Path) -> None:
        for name, program, _, _ in exported.programs():
            torch.export.save(program, stage / f"{name}.pt2")

    _export(model, Path(folder), write, TORCH_FILES, option="--torch-export", overwrite=overwrite)


class Exported:
    """A classifier whose programs are made; on the CPU, and without gradients."""

    def __init__(self, model: RMTClassifier) -> None:
        _check(model)
        self.model = copy.deepcopy(model).cpu().eval().requires_grad_(requires_grad=False)
        config = model.config
        calibration = training_range = None
        if model.folder is not None:
            calibration = Calibration.load(model.folder)
            training_range = TrainingRange.load(model.folder)
        temperature = None if calibration is None else calibration.temperature
        self.segment = SegmentProgram(self.model.encoder, config.pooling)
        self.head = HeadProgram(self.model, temperature, training_range)

    def settings(self) -> dict[str, Any]:
        """Return what the loop over segments needs, for ``model.json``."""
        config = self.model.config
        is_kmer = config.tokenizer_kind == "kmer"
        return {
            "made_by": MADE_BY,
            "version": __version__,
            "task": config.task,
            "classes": list(config.classes),
            "columns": PredictionTable(config.classes, task=config.task).header()[0].split("\t"),
            "notes": list(NOTES),
            "min_train_bp": config.min_train_bp,
            "max_train_bp": config.max_train_bp,
            "k": config.k if is_kmer else 0,
            "stride": config.stride,
            "segment_tokens": self.model.encoder.config.tokens_per_segment,
            "stem_pool": config.stem_pool,
            "halo": list(self.segment.halo),
            "memory_shape": [config.num_memory_tokens, config.dim],
            "head_reads_codes": self.head.reads_codes,
        }

    def programs(self) -> Iterator[tuple[str, Program, list[str], list[str]]]:
        """Yield name, program, and the names of its inputs and outputs."""
        config = self.model.config
        m, d = config.num_memory_tokens, config.dim
        rows, records = Dim("rows", max=_MOST_ROWS), Dim("records", max=_MOST_ROWS)
        left_and_right = sum(self.segment.halo)
        width: Any = config.stem_pool * Dim("positions", max=config.segment_length)
        width = width + left_and_right if left_and_right else width
        if config.stem_pool == 1 and not left_and_right:
            width = Dim("tokens", max=config.segment_length)
        size = self.model.encoder.config.tokens_per_segment + left_and_right
        arguments: tuple[torch.Tensor, ...] = (
            torch.zeros(3, size, dtype=torch.long),
            torch.ones(3, size, dtype=torch.bool),
            torch.zeros(3, m, d),
            torch.zeros(3, d + 2),
        )
        shapes: Any = ({0: rows, 1: width}, {0: rows, 1: width}, {0: rows}, {0: rows})
        program = torch.export.export(self.segment, arguments, dynamic_shapes=shapes)
        inputs, outputs = ["tokens", "keep", "memory", "pooled"], ["memory_after", "pooled_after"]
        yield "segment", program, inputs, outputs
        arguments, shapes, inputs = (torch.ones(3, 2, d + 2),), ({0: records},), ["pooled"]
        if self.head.reads_codes:
            bases: Any = 3 * Dim("codons", min=CODONS_AT_LEAST, max=_MOST_BP)
            arguments = (*arguments, torch.zeros(3, 12 * CODONS_AT_LEAST, dtype=torch.long))
            shapes, inputs = (*shapes, {0: records, 1: bases}), ["pooled", "codes"]
        program = torch.export.export(self.head, arguments, dynamic_shapes=shapes)
        yield "head", program, inputs, self.head.outputs


def _check(model: RMTClassifier) -> None:
    """Raise ConfigError if a model cannot be exported."""
    if not isinstance(model.encoder.step, SegmentTransformer):
        raise ConfigError(
            "export: the model reads segments with a pretrained encoder (model.backbone), but only "
            "the transformer of this package can be exported. Use rmt-genomics predict."
        )
    kinds = {each.dtype for each in model.state_dict().values()}
    if kinds != {torch.float32}:
        names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        raise ConfigError(
            f"export: the weights are {names}, but must be float32. Convert and save the model: "
            "model.float().save_pretrained(folder)."
        )


def _export(
    model: RMTClassifier | str | Path,
    folder: Path,
    write: Callable[[Exported, Path], None],
    names: tuple[str, ...],
    *,
    option: str,
    overwrite: bool,
) -> None:
    """Make and check an export in a temporary folder; what an earlier one left is removed."""
    check_new_folder(folder, overwrite=overwrite, option=option)
    every = dict.fromkeys((*ONNX_FILES, *TORCH_FILES))
    check_replaceable(folder, every, marker=SETTINGS, text=MADE_BY, option=option)
    if not isinstance(model, RMTClassifier):
        model = RMTClassifier.from_pretrained(model)
    exported = Exported(model)
    with (
        locked(folder, is_folder=True, option=option),
        staged_files(folder) as stage,
        _quiet(),
    ):
        settings = json.dumps(exported.settings(), indent=2) + "\n"
        (stage / SETTINGS).write_text(settings, encoding="utf-8")
        write(exported, stage)
        for name in set(every) - set(names):
            (folder / name).unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch and onnxscript say about their own work."""
    with warnings.catch_warnings(action="ignore"):
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def check_outputs(
    model: RMTClassifier, run: Callable[..., Iterator[dict[str, np.ndarray]]]
) -> None:
    """Raise RMTGenomicsError unless the exported programs give what the model gives."""
    generator = np.random.default_rng(0)
    longest = 2 * model.config.segment_bp
    records = [
        (str(length), generator.integers(0, 5, length, dtype=np.uint8))
        for length in (1, longest // 3, longest - 1)
    ]
    expected = model.predict_codes([codes for _, codes in records])
    found = np.stack([row["outputs"] for row in run(records)])
    scale = model.config.target_std if model.config.task == "regression" else 1.0
    if not (difference := np.abs(found - expected).max() / scale) <= TOLERANCE:
        raise RMTGenomicsError(
            f"export: the ONNX programs differ from the model by {difference:.2g} on random DNA, "
            f"but must agree to {TOLERANCE:g}. Nothing was written. Please report it, with the "
            "versions of torch, onnxscript and onnxruntime."
        )
