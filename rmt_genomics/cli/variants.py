"""``rmt-genomics variants``: a VCF file in, what each variant changes out."""

import logging
from pathlib import Path
from typing import Any

import click

from rmt_genomics.cli.options import BP, DEVICE, PATH, shard_option

logger = logging.getLogger(__name__)


@click.command()
@click.argument("model_dir", metavar="MODEL")
@click.argument("vcf", type=PATH)
@click.option("--fasta", type=PATH, required=True, help="The reference: FASTA, plain or bgzip.")
@click.option("--window", type=BP, metavar="BP", help="Read windows of this length, not records.")
@click.option("--out", type=PATH, required=True, help="A table (.tsv) or VCF (.vcf).")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of --out.")
@shard_option
@click.option("--device", type=DEVICE, default="auto", help="Where to compute.")
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def variants(
    model_dir: str,
    vcf: Path,
    fasta: Path,
    out: Path,
    *,
    resume: bool,
    shard: tuple[int, int] | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Compute the effects of variants on the logits of a model.

    MODEL is the folder of a trained model, or hf://owner/name; VCF is a file of variants: text,
    gzip or bgzip. Each variant is put into the reference alone, and both strands are read: those of
    the whole record or, with --window, those of one of the windows that predict --window reads (a
    variant that crosses a border is read in one that begins half a window earlier). Variants of
    one record or window share the memory up to where they begin; results are those of predicting
    each sequence as a whole.

    A table has a row per alternative: chrom, pos (1-based), ref, alt as in the VCF, for each class
    logit_ref_CLASS, logit_alt_CLASS and delta_CLASS (alternative less reference), and a note. VCF
    has the lines of the input with these names in INFO: of REF one number per line, else one per
    alternative. Of a regression they are prediction_ref_NAME, prediction_alt_NAME and delta_NAME,
    in the unit of the label.

    Skipped, counted on stderr and written with a note and NA (in VCF a dot) are: symbolic
    alleles, breakends, *, what is not on a record of the reference, and a REF that differs from
    it. Where that is more than a tenth, the VCF is of another genome, and an error names five.

    --out appears when it is complete; until then rows go to OUT.part as they come, and stay there
    if the run is killed. --resume continues it; --shard 1/4, 2/4, ... share it out over machines,
    and join merges their files. Either way the file is the same, byte for byte.
    """
    from rmt_genomics.atomic_io import check_new_file, check_partial
    from rmt_genomics.errors import counted
    from rmt_genomics.interpretation.variants import VariantRun
    from rmt_genomics.interpretation.vcf import OUTPUTS
    from rmt_genomics.model.pretrained import choose_device
    from rmt_genomics.prediction.sharding import is_prediction_file

    if out.suffix not in OUTPUTS:
        raise click.UsageError(
            f"--out {out}: its name must end in {' or '.join(OUTPUTS)}, which decides what is "
            "written."
        )
    check_new_file(out, inputs=[vcf, fasta], overwrite=overwrite, is_ours=is_prediction_file)
    check_partial(out, resume=resume, overwrite=overwrite)
    run = VariantRun(model_dir, vcf, fasta, window=options["window"], out=out)
    run.write(choose_device(options["device"]), shard, resume=resume)
    logger.info(
        "%s in %s of the output%s. Written to %s.",
        counted(run.survey.num_variants, "variant"),
        counted(run.num_rows, "row"),
        f", of which these are shard {shard[0]} of {shard[1]}" if shard else "",
        out,
    )
