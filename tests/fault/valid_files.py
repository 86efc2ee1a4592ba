"""Valid files of every kind that this program reads, its own included; made by a tiny training."""

import bz2
import gzip
import lzma
import os
import shutil
import warnings
from pathlib import Path
from unittest.mock import patch

from Bio import bgzf

from rmt_genomics.training.config_file import to_toml
from tests import sequence_files
from tests.cli.toys import run, succeed
from tests.training import toys

TRAIN = "train toy.fa --labels labels.tsv --seed 0 --device cpu"
TINY = {**toys.TINY, "training.batch_size": 8, "model.segment_length": 64}


def write_valid_files(folder: Path) -> Path:
    """Write all files into a new folder; return it."""
    folder.mkdir(parents=True)
    old, cache = Path.cwd(), os.environ.get("RMT_GENOMICS_CACHE")
    os.chdir(folder)
    os.environ["RMT_GENOMICS_CACHE"] = str(folder / "cache")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The `srun`"
            )  # of Lightning, where SLURM is installed
            _write_inputs()
            _write_runs()
            _write_predictions()
    finally:
        os.chdir(old)
        os.environ.pop("RMT_GENOMICS_CACHE")
        if cache is not None:
            os.environ["RMT_GENOMICS_CACHE"] = cache
    return folder


def _write_inputs() -> None:
    """Write sequences in every format and compression, labels, intervals, clusters, settings."""
    toys.write_data(Path())
    Path("toy.fasta").rename("toy.fa")
    fasta = Path("toy.fa").read_bytes()
    for name, content in sequence_files.FILES.items():
        Path(f"two.{name.lower()}").write_bytes(content)
    Path("toy.fa.gz").write_bytes(gzip.compress(fasta, mtime=0))
    Path("toy.fa.bz2").write_bytes(bz2.compress(fasta))
    Path("toy.fa.xz").write_bytes(lzma.compress(fasta))
    _write_genome(Path("genome"))
    names = [f"r{number}" for number in range(16)]
    columns = "record\tstart\tend\tstrand\tlabel\tgroup\tsplit\n"
    kinds = ("train", "train", "validation", "test")
    rows = [
        f"{name}\t0\t{15 + number % 3}\t+\t{('poor', 'rich')[number % 2]}\tg{number}\t"
        f"{kinds[number // 2 % 4]}\n"
        for number, name in enumerate(names)
    ]
    Path("parts.tsv").write_text(columns + "".join(rows))
    Path("toy.bed").write_text(
        "".join(f"{name}\t1\t15\t{('at', 'gc')[i % 2]}\t0\t+\n" for i, name in enumerate(names))
    )
    Path("toy.clusters").write_text("".join(f"{name}\t{name}\n" for name in names))
    Path("toy.clstr").write_text(
        "".join(f">Cluster {i}\n0\t14nt, >{name}... *\n" for i, name in enumerate(names))
    )
    config = toys.settings(training__batch_size=8)
    Path("config.toml").write_text(to_toml(config))


def _write_genome(folder: Path) -> None:
    """Write FASTA with lines of one length, plain and bgzip, with indexes beside them."""
    import pyfaidx

    folder.mkdir()
    lines = ["ACGTACGTAC" * 4] * 30
    text = "".join(f">chr{number}\n" + "\n".join(lines) + "\n" for number in (1, 2))
    (folder / "genome.fa").write_text(text)
    with bgzf.open(str(folder / "packed.fa.gz"), "wt") as file:
        file.write(text)
    for name in ("genome.fa", "packed.fa.gz"):
        pyfaidx.Faidx(str(folder / name)).close()
    shutil.copytree(folder, "bare", ignore=shutil.ignore_patterns("*.fai", "*.gzi"))
    Path("genome.bed").write_text("chr1\t0\t500\ta\t0\t+\nchr2\t30\t900\tb\t0\t-\n")


def _write_runs() -> None:
    """Write a finished run, an evaluation, and a run that was interrupted after its first epoch."""
    settings = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    succeed(*TRAIN.split(), *settings, "--out", "run")
    succeed(*["evaluate", "run", "toy.fa", "--labels", "parts.tsv", "--out", "evaluation"])

    from rmt_genomics.training.callbacks import MetricsLogger

    start, epochs = MetricsLogger.on_train_epoch_start, []

    def interrupted(*arguments: object) -> None:
        epochs.append(1)
        if len(epochs) > 1:
            raise KeyboardInterrupt
        start(*arguments)

    with patch.object(MetricsLogger, "on_train_epoch_start", interrupted):
        run(*TRAIN.split(), *settings, "--out", "stopped")
    assert Path("stopped/checkpoints/last.ckpt").is_file()


def _write_predictions() -> None:
    """Write shards, and what interrupted predictions leave."""
    from rmt_genomics.prediction.run import PredictionRun

    Path("shards").mkdir()
    for number in (1, 2):
        succeed(*f"predict run toy.fa --shard {number}/2 --out shards/{number}".split())
    succeed(
        *["predict", "run", "bare/genome.fa", "--intervals", "genome.bed", "--out", "by_index.tsv"]
    )
    predictions = PredictionRun.predictions

    def interrupted(*arguments: object) -> object:
        for number, prediction in enumerate(predictions(*arguments)):
            if number == 5:
                raise KeyboardInterrupt
            yield prediction

    Path("part").mkdir()
    with patch.object(PredictionRun, "predictions", interrupted):
        run(*["predict", "run", "toy.fa", "--out", "part/out.tsv"])
    assert Path("part/out.tsv.part.json").is_file()
