"""``rmt-genomics pretrain``: DNA without labels in, an encoder to train classifiers from out."""

import logging
from pathlib import Path
from typing import Any

import click

from rmt_genomics.cli.options import PATH, run_options, settings_option

logger = logging.getLogger(__name__)


@click.command()
@click.argument("fasta", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, required=True, help="Run folder; afterwards a model folder.")
@click.option("--config", type=PATH, help="TOML file of settings.")
@settings_option
@run_options
def pretrain(
    fasta: tuple[Path, ...],
    out: Path,
    config: Path | None,
    settings: tuple[str, ...],
    device: str,
    *,
    resume: bool,
    **options: Any,
) -> None:
    """Pretrain an encoder on DNA without labels.

    FASTA are files or folders of sequences, as for train. Some of the bases are masked (read as N),
    single ones and spans, and the network learns to predict them from both sides of their segment,
    and from its memory of what was before, on both strands. Records that are similar (settings
    data.identity and data.validation_fraction) are in one part, training or validation. Long
    records are cut into windows (data.window_bp, 16,384 bp if it is not given; 0 = whole records).

    The run folder is a model folder: train --init-from starts from it, and embed takes it. It has
    no classes, so it does not predict.

    Settings are those of train that do not need labels, and the table [pretraining] (see train
    --list-settings): the fraction of bases that are masked, the fraction of these in spans, and the
    length of a span. With --resume and no --config, those of the run are used.

    Prints the bits per base of the validation part, as a tab-separated table: of the network, of
    the network without memory, and of models that count bases. Those of the Markov models read from
    left to right, so they do not see what follows a base; the context models count the bases on
    both sides. All are in metrics.json.
    """
    from rmt_genomics.evaluation.pretraining import evaluate_pretraining, result_lines
    from rmt_genomics.reports import write_model_card
    from rmt_genomics.training import read_config
    from rmt_genomics.training.distributed import DistributedSetup, exit_without_cleanup
    from rmt_genomics.training.pretraining import pretrain as pretrain_model
    from rmt_genomics.training.run_folder import RunFolder

    if resume and config is None and (out / "config.toml").is_file():
        config = out / "config.toml"
    experiment = read_config(config, settings)
    processes = DistributedSetup(options["devices"], options["num_nodes"])
    with RunFolder(out).writing(locks=processes.is_rank_zero):
        result = pretrain_model(fasta, out, experiment, device=device, resume=resume, **options)
        if result.model is not None and result.data is not None:
            metrics = evaluate_pretraining(
                out,
                result.model,
                result.data.store,
                result.data.split,
                result.config.pretraining,
                device=device,
                seed=options["seed"],
            )
            write_model_card(out)
            for line in result_lines(metrics):
                click.echo(line)
            logger.info("The model is in %s. Train from it: train --init-from %s", out, out)
    if processes.world_size > 1:
        exit_without_cleanup()
