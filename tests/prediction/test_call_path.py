"""A reader follows ``predict`` from the command to a written row through few files."""

import sys
from pathlib import Path
from types import FrameType

import rmt_genomics
from tests.cli.toys import succeed
from tests.prediction.toys import saved_model, write_fasta

PACKAGE = Path(rmt_genomics.__file__).parent
FILES = {
    "cli/__init__.py",
    "cli/group.py",
    "cli/predict.py",
    "prediction/run.py",
    "prediction/inputs.py",
    "prediction/predictor.py",
    "prediction/output_formats.py",
    "prediction/progress.py",
    "prediction/notes.py",
    "prediction/training_range.py",
    "prediction/sharding.py",  # a file that is replaced must be one of ours
    "atomic_io.py",
}
"""All that is called but for the core, the model, the readers of sequence files, messages, and the
options that commands share."""

NOT_COUNTED = ("rmt/", "model/", "dna/", "errors.py", "parsing.py", "cli/options.py")


def test_a_prediction_passes_through_these_files_only(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGTAC", "r2": "GGNNRT"})
    arguments = ("predict", model, fasta, "--window", 4, "--device", "cpu")
    succeed(*arguments)  # imports what is imported late
    called: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            called.add(path.relative_to(PACKAGE).as_posix())

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        succeed(*arguments, "--out", tmp_path / "out.tsv", "--abstain-below", 0.6)
    finally:
        sys.setprofile(previous)

    counted = {file for file in called if not file.startswith(NOT_COUNTED)}
    assert len(FILES) <= 12
    assert counted <= FILES
    assert {"cli/predict.py", "prediction/predictor.py", "atomic_io.py"} <= counted
