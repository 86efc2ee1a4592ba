"""``rmt-genomics train``: FASTA and labels in, a trained and evaluated model out."""

import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmt_genomics.cli.options import (
    PATH,
    echo_metrics,
    label_options,
    label_source,
    run_options,
    settings_option,
    step_option,
    take_data_settings,
    window_option,
    window_settings,
)

if TYPE_CHECKING:
    from rmt_genomics.datasets import LabelSource
    from rmt_genomics.training import ExperimentConfig, TrainingResult

logger = logging.getLogger(__name__)


def _list_settings(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 (click's signature)
    if value and not context.resilient_parsing:
        from rmt_genomics.training.config_file import template

        click.echo(template(), nl=False)
        context.exit()


@click.command()
@click.argument("fasta", type=PATH)
@click.option("--labels", type=PATH, help="Table of labels, or a word (see above).")
@label_options
@click.option("--out", type=PATH, required=True, help="Run folder; afterwards a model folder.")
@click.option("--config", type=PATH, help="TOML file of settings.")
@settings_option
@window_option
@step_option
@click.option("--batch-size", metavar="N|auto", help="The same as --set training.batch_size=N.")
@click.option(
    "--time-budget",
    metavar="TIME",
    help="Time for training, evaluation and report: 30s, 10min, 2h.",
)
@click.option("--threshold", metavar="P|auto", help="The same as --set training.threshold=P.")
@click.option(
    "--init-from", metavar="MODEL", help="Start from the encoder of this model (see above)."
)
@click.option(
    "--freeze",
    type=click.Choice(["encoder", "none"]),
    help="With --init-from: what stays.",
)
@click.option("--keep-head", is_flag=True, help="With --init-from: keep its classes, add new ones.")
@run_options
@click.option(
    "--control",
    type=click.Choice(["memory-reset", "random-weights"]),
    help="Also train the same network without memory, or from random weights.",
)
@click.option(
    "--random-weights",
    is_flag=True,
    help="The same as --set model.backbone_weights=random.",
)
@click.option("--folds", type=int, metavar="K", help="Cross-validation: train K models.")
@click.option("--strict", is_flag=True, help="Refuse a split with leakage, instead of warning.")
@click.option(
    "--list-settings",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_settings,
    help="Print all settings with comments as TOML and exit.",
)
def train(  # noqa: PLR0913 (one argument an option)
    fasta: Path,
    labels: Path | None,
    label_pattern: str | None,
    out: Path,
    config: Path | None,
    settings: tuple[str, ...],
    window_bp: int | None,
    step_bp: int | None,
    device: str,
    *,
    resume: bool,
    **options: Any,
) -> None:
    """Train a classifier on FASTA and labels.

    FASTA is a file, or a folder of files of one kind: FASTA, FASTQ, GenBank, EMBL, or CSV or TSV
    with a sequence column, plain or compressed by gzip, bgzip, bzip2, xz or Zstandard.

    The labels are a table (tabs or commas) with a header: record, label and optionally group and
    split; or record, start, end, strand, label, group, split for intervals (0-based, half-open);
    or a BED file with the label in column 4. Several labels of one example are joined by ; and
    examples of one group stay in one part. Labels that are all numbers, of which some are not whole
    and at least 20 differ, are predicted as numbers (regression), unless --set
    data.task=classification or data.task=regression sets the task.

    Instead of a table, --labels may be a word for labels in the sequence files: column (the column
    label of a CSV or TSV; group and split are read too), header (label=... in each header, or the
    match of --label-pattern), file (one file per class, named after it) or folder (one folder per
    class; the first folder below FASTA). With column and header, files named train, dev and test
    are the parts of the split. Without --labels it is column, if all files have that column.

    A name that is in several files gets the name of the file in front, as in plasmids:contig_1.
    --unlabelled, --min-class-size, --duplicate-names and --full-names are settings
    (data.unlabelled and so on), so that --resume repeats them.

    Without --labels, examples are simulated: the settings of [simulation] say how they are made of
    the sequences in FASTA, anew in each epoch (see simulate for the tasks).

    With --window, the labelled records or intervals are cut into windows, as predict does: the last
    window of each ends with it, and a shorter one is one window. Windows of one record stay in one
    part. They are the same as --set data.window_bp=BP and data.step_bp=BP.

    Settings are those of the TOML file, changed by --set, such as --set model.preset=tiny or
    --set training.max_epochs=5. With --resume and no --config, those of the run are used.
    --list-settings prints a file to start from. --resume with a larger training.max_epochs
    continues a finished run.

    With --init-from, the encoder starts from the weights of another model: the folder of pretrain
    or of a training, hf://owner/name on the hub, or the name of a model that comes with this
    package. Its sizes and tokens are used; labels, head and features may be others. --freeze
    encoder trains the rest only, and --set training.encoder_lr_factor=0.1 gives the encoder a tenth
    of the learning rate. --keep-head adds classes to a classifier: those it has keep their weights.

    --threshold is for tasks of two classes, or several labels per example: the probability from
    which on a class is predicted, instead of 0.5. auto chooses it on the validation part, of each
    label its own, so that the Matthews correlation (MCC) is highest there. It is saved with the
    model, for predict and evaluate.

    Prints the main metrics of the best model and of its baselines on the test part, or on the
    validation part if there is no test part: aligned on a terminal, else as a tab-separated table.
    The baselines are the most common label, k-mer counts (4-mers or 6-mers of both strands, 2-mers
    or 4-mers of the given strand, whichever is better on the validation part; with protein:K in
    model.features also k-mers of amino acids), and length with composition. Beside them are the
    model's features alone, if it has regressions on them, and the same network applied to each
    segment separately (if it reads more than its memory, also to windows of one segment without
    anything from outside). Writes a report (report.html) into --out.

    With --time-budget, training, evaluation and report end within this time (the same as --set
    training.time_budget=TIME): a few steps are measured, and the number of epochs, and of examples
    in an epoch and in a validation, are chosen once and kept in config.toml. training.max_epochs is
    the most. At most a quarter of the time is for the evaluation: of a large test part a sample is
    evaluated. With --resume, the time of earlier sessions counts.

    With --control memory-reset, the same network is also trained without memory: its memory is set
    to zero before each segment; data, split, seed, settings and number of steps are the same. It is
    in the folder control of --out. On a CPU with two cores or more both are trained at the same
    time, with half of the threads each; elsewhere one after the other. Whether memory helps is
    then known: by the difference of the two, with its confidence interval. --resume and --overwrite
    are for both. --control random-weights does the same without the weights of --init-from or of
    model.backbone: whether these help.

    With --set model.backbone=FOLDER (or hf://owner/name), a pretrained encoder of others reads the
    segments (docs/how-to/pretrained-encoders.md). --random-weights trains its twin without what it
    has learned before, for comparison.

    With --folds K, the examples are divided into K folds (groups stay whole), and K models are
    trained, in fold-1, fold-2, ... of --out: the test part of each is its fold, and its validation
    part is taken from the rest. out_of_fold.tsv has the prediction of each example by the model
    that was not trained on it, and metrics.json the metrics of all of these, with mean and standard
    deviation over the folds. predict and evaluate take --out as a model: the mean of all.
    """
    options["started_at"] = time.monotonic()  # the imports take a while
    from rmt_genomics.errors import RMTGenomicsError
    from rmt_genomics.training import read_config
    from rmt_genomics.training import train as train_model
    from rmt_genomics.training.cross_validation import is_cross_validation
    from rmt_genomics.training.distributed import DistributedSetup, exit_without_cleanup
    from rmt_genomics.training.run_folder import RunFolder

    settings = (*settings, *window_settings(window_bp, step_bp), *_take_settings(options))
    if resume and config is None and (out / "config.toml").is_file():
        config = out / "config.toml"
    settings = (*settings, *take_data_settings(options))
    experiment = read_config(config, settings)
    is_simulated = labels is None and label_pattern is None and experiment.simulation.is_on
    source = None if is_simulated else label_source(labels, label_pattern, fasta)
    folds = options.pop("folds")
    if folds is not None or (resume and is_cross_validation(out)):
        options |= {"device": device, "resume": resume, "folds": folds}
        return _cross_validate(fasta, source, out, experiment, options)
    processes = DistributedSetup(options["devices"], options["num_nodes"])
    with RunFolder(out).writing(locks=processes.is_rank_zero):  # until the report is written
        result = train_model(
            fasta, source, out, experiment, device=device, resume=resume, **options
        )
        if result.is_rank_zero:
            _evaluate(out, fasta, device, result, options["started_at"])
        if result.control_error is not None:
            raise RMTGenomicsError(
                f"{RunFolder(out).control.path}: the control has failed: {result.control_error} "
                f"The model in {out} is complete; --resume continues the control."
            )
    if processes.world_size > 1:
        exit_without_cleanup()


def _take_settings(options: dict[str, Any]) -> list[str]:
    """Take the options that stand for settings, as for ``--set``."""
    names = ("batch_size", "threshold", "time_budget", "init_from", "freeze", "keep_head")
    values = {name: options.pop(name) for name in names}
    if values["init_from"] is not None:
        values["init_from"] = json.dumps(values["init_from"])  # a path may look like a number
    values["keep_head"] = "true" if values["keep_head"] else None
    taken = [f"training.{name}={value}" for name, value in values.items() if value is not None]
    return [*taken, "model.backbone_weights=random"] if options.pop("random_weights") else taken


def _cross_validate(
    fasta: Path,
    labels: "LabelSource | None",
    out: Path,
    config: "ExperimentConfig",
    options: dict[str, Any],
) -> None:
    """Train, evaluate and report each fold, then all of them together."""
    from rmt_genomics.errors import ConfigError
    from rmt_genomics.evaluation import evaluate_folds, evaluate_run
    from rmt_genomics.evaluation.cross_validation import fold_sentence
    from rmt_genomics.evaluation.tables import interval_sentence, summary_sentences
    from rmt_genomics.reports import write_evidence, write_model_card, write_report
    from rmt_genomics.reports.evidence import LEAST_SECONDS
    from rmt_genomics.training import cross_validate
    from rmt_genomics.training.run_folder import RunFolder

    del options["started_at"]
    if options.pop("control") is not None:
        raise ConfigError("--folds and --control cannot be combined. Leave one of them out.")
    if (options.pop("devices"), options.pop("num_nodes")) != (1, 1):
        raise ConfigError(
            "--folds trains the models one after the other in one process, but --devices or "
            "--num-nodes asks for more. Leave them out."
        )
    device, names = options["device"], config.data.names

    def evaluate_fold(folder: Path, result: "TrainingResult | None") -> None:
        if result is not None or not (folder / "report.html").is_file():
            evaluate_run(
                folder,
                fasta,
                device=device,
                trained=result,
                names=names,
                keep_predictions=True,
                on_evaluated=partial(write_evidence, folder, seconds=LEAST_SECONDS),
            )
            write_report(folder)
        write_model_card(folder)

    with RunFolder(out).writing():  # until the report is written
        cross_validate(fasta, labels, out, config, on_fold=evaluate_fold, **options)
        metrics = evaluate_folds(out, fasta, device=device, names=names)
        report = write_report(out)
    echo_metrics(metrics)
    sentences = [*summary_sentences(metrics), interval_sentence(metrics), fold_sentence(metrics)]
    for sentence in filter(None, sentences):
        logger.info(sentence)
    logger.info("The models are in %s, a report in %s.", out, report)


def _evaluate(
    out: Path, fasta: Path, device: str, result: "TrainingResult", started_at: float
) -> None:
    """Evaluate a finished run, write its reports and print its metrics."""
    from rmt_genomics.evaluation import evaluate_run
    from rmt_genomics.evaluation.tables import interval_sentence, summary_sentences
    from rmt_genomics.reports import write_evidence, write_model_card, write_report
    from rmt_genomics.reports.evidence import evidence_seconds

    seconds = result.evaluation_seconds
    for_evidence = evidence_seconds(time.monotonic() - started_at)
    metrics = evaluate_run(
        out,
        fasta,
        device=device,
        trained=result,
        max_seconds=None if seconds is None else max(0.0, seconds - for_evidence),
        on_evaluated=partial(write_evidence, out, seconds=for_evidence),
    )
    report = write_report(out)
    write_model_card(out)
    echo_metrics(metrics)
    for sentence in [*summary_sentences(metrics), interval_sentence(metrics)]:
        if sentence:
            logger.info(sentence)
    part = metrics["split"]
    logger.info("Evaluated on the %s part. The model is in %s, a report in %s.", part, out, report)
