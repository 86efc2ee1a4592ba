"""A command group that imports its commands late, and tells errors and warnings in one line."""

import errno
import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from rmt_genomics.atomic_io import is_disk_full
from rmt_genomics.errors import RMTGenomicsError, RMTGenomicsWarning

INTERRUPTED = 130  # what a shell reports for a process stopped by Ctrl-C


class LazyGroup(click.Group):
    """Commands by name; each is imported when it is run or asked for help.

    Args:
        lazy: The one-line help of each command, shown without importing it.
        settings: Everything ``click.Group`` takes.
    """

    def __init__(self, *, lazy: Mapping[str, str], **settings: Any) -> None:
        super().__init__(**settings)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names in the order they were given."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command: module and function have its name."""
        if cmd_name not in self.lazy:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"rmt_genomics.cli.{cmd_name}"), cmd_name
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lazy.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own errors and a full disk become one plain line.

        Real bugs keep their traceback.
        """
        try:
            with _plain_warnings():
                return super().invoke(ctx)
        except RMTGenomicsError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt as stop:
            click.echo(" ".join(["Stopped by Ctrl-C.", *map(str, stop.args)]), err=True)
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno is None or error.errno == errno.EPIPE:
                raise  # click ends quietly when the reader of a pipe has gone
            raise click.ClickException(_in_one_line(error)) from error


def _in_one_line(error: OSError) -> str:
    """Say what the system refused, and what to do if the disk is full."""
    where = f"{error.filename}: " if error.filename else ""
    if is_disk_full(error):
        return (
            f"{where}no space is left on the disk, but the output needs some. "
            "Free some space, or give an --out on another disk."
        )
    return f"{where}{error.strerror}"


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show our own warnings as one line on stderr, each once; others stay as they are."""
    told: set[str] = set()
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, RMTGenomicsWarning):
                if str(message) not in told:
                    click.echo(f"Warning: {message}", err=True)
                told.add(str(message))
            else:
                show_others(message, category, *place, **more)

        warnings.showwarning = show
        warnings.simplefilter("always", RMTGenomicsWarning)
        yield
