"""The command line: each command parses its options, calls one library function and prints.

A command is imported when it is used, so that ``--help`` answers at once.
"""

import click

from rmt_genomics.cli.group import QUIET, VERBOSE, LazyGroup, chosen_level, messages_on_stderr

COMMANDS = {  # in the order in which a new user needs them
    "demo": "Train, evaluate and predict on the real DNA that comes with this package.",
    "inspect": "Summarise and check sequence files and labels before training.",
    "split": "Split labelled DNA into train, validation and test sets.",
    "plan": "Estimate memory and time of a training, and choose a batch.",
    "train": "Train a classifier on FASTA and labels.",
    "pretrain": "Pretrain an encoder on DNA without labels.",
    "evaluate": "Compare a model's predictions with true labels.",
    "compare": "Compare the metrics of several runs.",
    "predict": "Predict the label of each FASTA record.",
    "join": "Merge the shards of predict or variants, in input order.",
    "embed": "Compute an embedding of each FASTA record.",
    "explain": "Show where in a record the signal of a class is.",
    "variants": "Compute the effects of variants on the logits of a model.",
    "export": "Export a model as files that predict without this package.",
    "simulate": "Simulate sequences whose labels test a model's memory.",
}
"""Every command with the first line of its help; module and function have the command's name."""


def _print_version(context: click.Context, _option: click.Parameter, is_set: bool) -> None:  # noqa: FBT001 (click's signature)
    if is_set and not context.resilient_parsing:
        from rmt_genomics import __version__

        click.echo(f"rmt-genomics {__version__}")
        context.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.option("-q", "--quiet", is_flag=True, help=QUIET)
@click.option("-v", "--verbose", is_flag=True, help=VERBOSE)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(context: click.Context, *, quiet: bool, verbose: bool) -> None:
    """Classify long DNA sequences with a bidirectional Recurrent Memory Transformer.

    Results go to stdout, messages and progress to stderr. Exit codes: 0 success, 1 an error that
    is explained in one message, 2 wrong usage, 130 stopped by Ctrl-C.
    """
    context.with_resource(messages_on_stderr(chosen_level(quiet=quiet, verbose=verbose)))
