"""The command line: parse, call one library function, print. No logic lives here.

A command is imported when it is used, so that ``--help`` answers at once.
"""

import click

from rmt_genomics.cli.group import LazyGroup

COMMANDS = {  # in the order of a first visit
    "demo": "Train on the real DNA that comes with this package, and see how it goes.",
    "inspect": "Look at FASTA and labels before they are used.",
    "split": "Divide labelled DNA into train, validation and test.",
    "plan": "Estimate memory and time of a training, and choose a batch.",
    "train": "Train a classifier on FASTA and labels.",
    "evaluate": "Compare a model's predictions with true labels.",
    "compare": "Put the metrics of several runs side by side.",
    "predict": "Name the label of each FASTA record.",
    "join": "Put the files of predict --shard together, in input order.",
    "embed": "Turn each FASTA record into a vector, for clustering, search or another classifier.",
    "simulate": "Make sequences with planted motifs, to test what a model can remember.",
}
"""Every command with the first line of its help; module and function have its name."""


def _version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 (click passes it so)
    """Print the version and stop."""
    if is_asked and not context.resilient_parsing:
        from rmt_genomics import __version__

        click.echo(f"rmt-genomics {__version__}")
        context.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Classify long DNA sequences with a bidirectional Recurrent Memory Transformer.

    Data goes to stdout, talk and progress to stderr. Exit codes: 0 fine, 1 an error that is
    explained in one message, 2 a mistyped command, 130 stopped by Ctrl-C.
    """
