"""``rmt-genomics export``: a trained model in, files that run without this package out."""

import logging
from pathlib import Path

import click

from rmt_genomics.cli.options import PATH

logger = logging.getLogger(__name__)


@click.command()
@click.argument("model_dir", metavar="MODEL")
@click.option("--onnx", type=PATH, metavar="DIR", help="Write ONNX files and run_onnx.py here.")
@click.option("--torch-export", type=PATH, metavar="DIR", help="Write torch.export programs here.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier export.")
def export(
    model_dir: str, onnx: Path | None, torch_export: Path | None, *, overwrite: bool
) -> None:
    """Export a model as files that predict without this package.

    MODEL is the folder of a trained model, or hf://owner/name. At least one of the two folders is
    needed, and both are new or empty.

    --onnx: segment.onnx (one segment and the memory in, the memory out), head.onnx (what was read
    of both strands in, probabilities out), model.json (what the loop over segments needs) and
    run_onnx.py, which predicts the records of a FASTA file and needs onnxruntime and NumPy only:

    python DIR/run_onnx.py contigs.fasta.gz > predictions.tsv

    The programs are compared with the model before anything is written. Needs the extra onnx.

    --torch-export: the same programs for torch.export.load, segment.pt2 and head.pt2, and
    model.json. Load such files from people you trust only.
    """
    if onnx is None and torch_export is None:
        raise click.UsageError("Give --onnx DIR or --torch-export DIR: what is to be written.")
    if onnx == torch_export:
        raise click.UsageError("--onnx and --torch-export must be two folders.")
    from rmt_genomics.export import export_onnx, export_torch

    for folder, write in ((onnx, export_onnx), (torch_export, export_torch)):
        if folder is not None:
            write(model_dir, folder, overwrite=overwrite)
            logger.info("Written to %s.", folder)
