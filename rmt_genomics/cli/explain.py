"""``rmt-genomics explain``: DNA in, tracks of what speaks for a class out."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmt_genomics.cli.options import BP, DEVICE, PATH, SEQUENCES, name_options, take_names

if TYPE_CHECKING:
    from rmt_genomics.dna import EncodedRecord, Interval, NameOptions
    from rmt_genomics.interpretation.breakpoints import Breakpoints
    from rmt_genomics.interpretation.tracks import Attribution, TrackFiles

logger = logging.getLogger(__name__)

_METHODS = ("gradient", "integrated_gradients", "occlusion", "occlusion_shuffle", "mutagenesis")


@click.command()
@click.argument("model_dir", metavar="MODEL")
@click.argument("fasta", type=SEQUENCES)
@click.option("--interval", metavar="CHR:START-END", help="Only this part of one record.")
@click.option("--class", "class_name", metavar="NAME", help="Default: the predicted class.")
@click.option(
    "--method",
    "methods",
    type=click.Choice(_METHODS),
    multiple=True,
    help="Repeatable; default: gradient, integrated_gradients and occlusion.",
)
@click.option(
    "--piece",
    "piece_bp",
    type=BP,
    metavar="BP",
    help="For occlusion and breakpoints; default: segments.",
)
@click.option(
    "--breakpoints",
    "num_breakpoints",
    type=click.IntRange(1, 2),
    help="Also find so many breakpoints; needs --class.",
)
@click.option("--bigwig", is_flag=True, help="Also write METHOD.bw.")
@name_options
@click.option("--out", type=PATH, required=True, help="Folder for the results.")
@click.option("--device", type=DEVICE, default="auto", help="Where to compute.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out.")
def explain(
    model_dir: str,
    fasta: Path,
    out: Path,
    *,
    interval: str | None,
    methods: tuple[str, ...],
    overwrite: bool,
    **options: Any,
) -> None:
    """Show where in a record the signal of a class is.

    MODEL is the folder of a trained model, or hf://owner/name; FASTA is a sequence file, as for
    predict. All records are explained, or the one of --interval. A score is the logit of one class,
    or the value of a regression; a track says what each base or piece of the record adds to it.
    Positions are 0-based, half-open, on the forward strand; both strands are read.

    occlusion: the score less that with a piece replaced by N (occlusion_shuffle: by its own bases
    in another order, dinucleotides kept). A piece is a segment of the model; in a record of more
    than 256 segments, neighbours are joined. gradient: gradient times input. integrated_gradients:
    the mean gradient between a record of N and this one; bases add up to the difference of the two
    scores. mutagenesis: each base of --interval replaced by each other one, in the context of the
    whole record; three predictions, or half as much, per base. With --interval, the other methods
    read the whole record as well, and write that part only.

    --breakpoints cuts each record at each border of segments in turn, and finds where both parts,
    each read alone, look most like --class, a class of sequences from one source. Two breakpoints
    give a part in between, and the rest, joined; that takes a prediction for each pair of 32
    borders.

    Writes METHOD.bedgraph, segments.tsv, breakpoints.tsv, top_regions.bed, for each record a figure
    and RECORD.npz (one_hot and each method, 1 x 4 x bases, as tangermeme and TF-MoDISco read them),
    and summary.tsv, which is printed: scores, the sum of each track, and what it leaves
    unexplained.
    """
    from rmt_genomics.atomic_io import staged_files
    from rmt_genomics.errors import ConfigError
    from rmt_genomics.interpretation import check_has_gradients, default_methods
    from rmt_genomics.interpretation.tracks import TrackFiles, check_bigwig, files_of
    from rmt_genomics.locks import check_new_folder, is_unused, locked
    from rmt_genomics.model import RMTClassifier
    from rmt_genomics.model.pretrained import choose_device

    part = _interval(interval, methods)
    _check_piece(options["piece_bp"], methods, options["num_breakpoints"])
    _check_breakpoints(options["num_breakpoints"], options["class_name"], interval)
    if options["bigwig"]:
        check_bigwig()
    check_new_folder(out, overwrite=overwrite)
    old = [] if is_unused(out) else files_of(out)
    model = RMTClassifier.from_pretrained(model_dir, device=choose_device(options["device"]))
    chosen = tuple(name for name in _METHODS if name in (methods or default_methods(model)))
    for name in chosen:
        check_has_gradients(model, name)
    names = take_names(options)
    with locked(out, is_folder=True):
        with staged_files(out) as stage:
            files = TrackFiles(stage, tuple(model.config.features_by_kind))
            _write(files, _explained(model, _records(fasta, names, part), chosen, part, options))
            if options["bigwig"]:
                files.write_bigwigs()
            written = files.write_manifest()
            for name in written:
                if (out / name).exists() and name not in old:
                    raise ConfigError(
                        f"{out / name}: would be replaced, but is not of an earlier run. Move it "
                        "away, or give another --out."
                    )
            for name in set(old) - set(written):
                (out / name).unlink(missing_ok=True)
        logger.info("Written to %s: %s.", out, ", ".join(written))
    for line in files.summary:
        click.echo(line)


def _write(
    files: "TrackFiles",
    explained: "Iterator[tuple[Any, list[Attribution], Breakpoints | None]]",
) -> None:
    """Write the tracks of each record as they come, and a table of all breakpoints."""
    from rmt_genomics.interpretation.breakpoints import table_lines

    found = []
    for codes, tracks, breakpoints in explained:
        files.add(codes, tracks)
        if breakpoints is not None:
            found.append(breakpoints)
    if found:
        text = "".join(f"{line}\n" for line in table_lines(found))
        (files.folder / "breakpoints.tsv").write_text(text, encoding="utf-8", newline="\n")


def _interval(text: str | None, methods: Sequence[str]) -> "Interval | None":
    """Return the part of a record that is asked for."""
    from rmt_genomics.dna import Interval
    from rmt_genomics.errors import ConfigError

    if text is None:
        if "mutagenesis" in methods:
            raise click.UsageError(
                "--method mutagenesis needs --interval: it reads the record three times for each "
                "base."
            )
        return None
    part = Interval.parse(text)
    if text.endswith(")"):
        raise ConfigError(
            f"--interval {text}: has a strand, but tracks are those of both strands together. "
            "Leave it out."
        )
    return part


def _check_breakpoints(number: int | None, class_name: str | None, interval: str | None) -> None:
    """Raise an error if breakpoints are asked for without what they need."""
    if number is not None and class_name is None:
        raise click.UsageError(
            "--breakpoints needs --class: the class of sequences from one source, which the parts "
            "are to look like."
        )
    if number is not None and interval is not None:
        raise click.UsageError(
            "--breakpoints are those of whole records, but --interval is a part of one. Leave one "
            "of them out."
        )


def _check_piece(piece_bp: int | None, methods: Sequence[str], breakpoints: int | None) -> None:
    """Raise ConfigError if a length of pieces is given, but no method has pieces."""
    from rmt_genomics.errors import ConfigError
    from rmt_genomics.interpretation import BY_PIECES

    has_pieces = not methods or breakpoints is not None or bool(set(BY_PIECES) & set(methods))
    if piece_bp is not None and not has_pieces:
        raise ConfigError(
            f"--piece {piece_bp}: is the length of a piece for occlusion, but --method is "
            f"{' and '.join(methods)}. Add --method occlusion, or leave --piece out."
        )


def _records(
    fasta: Path, names: "NameOptions", part: "Interval | None"
) -> "Iterator[EncodedRecord]":
    """Yield the records to be explained.

    Raises:
        DataError: If there is not the one that is asked for.
    """
    from rmt_genomics.dna import RecordNames, read_encoded, sequence_files
    from rmt_genomics.errors import DataError

    files = sequence_files([fasta])
    record_names = RecordNames(files, names)
    seen: list[str] = []
    for file in files:
        for record in read_encoded(file, None, record_names):
            if part is None:
                yield record
            elif record.name == part.record:
                part.check_within(record.length)
                yield record
                return
            seen.append(record.name)
    if part is not None:
        raise DataError(
            f"{fasta}: there is no record {part.record!r}, but --interval is a part of it. There "
            f"are: {', '.join(seen[:5])}{', ...' if len(seen) > 5 else ''}."
        )


def _explained(
    model: Any,
    records: "Iterator[EncodedRecord]",
    methods: Sequence[str],
    part: "Interval | None",
    options: dict[str, Any],
) -> "Iterator[tuple[Any, list[Attribution], Breakpoints | None]]":
    """Yield the base codes, the tracks and the breakpoints of each record."""
    from rmt_genomics.interpretation import BY_PIECES, RecordExplainer
    from rmt_genomics.interpretation.breakpoints import breakpoints_of, target_of_parts
    from rmt_genomics.interpretation.tracks import Target
    from rmt_genomics.prediction.progress import progress_bar

    class_name, piece_bp = options["class_name"], options["piece_bp"]
    number = options["num_breakpoints"]
    if class_name is not None:
        Target.of(model, class_name)
    if number is not None:
        target_of_parts(model, class_name)
    interval = None if part is None else (part.start, part.end)
    with progress_bar(lambda: None) as progress:
        for record in records:
            explainer = RecordExplainer(
                model, record.codes, record.name, class_name, progress.update
            )
            tracks = [
                explainer.attribute(name, interval, piece_bp if name in BY_PIECES else None)
                for name in methods
            ]
            breakpoints = None
            if number is not None:
                breakpoints = breakpoints_of(
                    model,
                    record.codes,
                    class_name,
                    number,
                    piece_bp=piece_bp,
                    record=record.name,
                    on_read=progress.update,
                )
            yield record.codes, tracks, breakpoints
            del record, explainer, tracks
