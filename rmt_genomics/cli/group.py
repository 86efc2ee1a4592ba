"""A command group that imports its commands late, and shows errors, warnings and log messages."""

import copy
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import click

from rmt_genomics.atomic_io import is_disk_full
from rmt_genomics.errors import RMTGenomicsError, RMTGenomicsWarning, one_line, out_of_memory

QUIET, VERBOSE = "Show warnings and errors only.", "Show debug messages too."
INTERRUPTED = 130  # the exit code that shells use for a process stopped by Ctrl-C


class LazyGroup(click.Group):
    """Commands by name; each is imported when it runs or shows its help.

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

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """Import a command, and add -q and -v: module and function have its name."""
        if cmd_name not in self.lazy:
            return None
        module = importlib.import_module(f"rmt_genomics.cli.{cmd_name}")
        command: click.Command = copy.copy(getattr(module, cmd_name))
        levels = [_level_option("quiet", QUIET), _level_option("verbose", VERBOSE)]
        command.params = [*command.params, *levels]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named first; suggest one if the name is wrong."""
        name = args[0]
        is_option = name[:1] == "-"
        if not is_option and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            nearest = get_close_matches(name, self.lazy, n=1)
            remedy = f"Did you mean {nearest[0]!r}?" if nearest else f"Try {', '.join(self.lazy)}."
            ctx.fail(f"No such command {name!r}. {remedy}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lazy.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own errors and those of the system become one plain line.

        Real bugs keep their traceback.
        """
        try:
            return super().invoke(ctx)
        except click.ClickException as error:  # of wrong usage
            vars(error)["message"] = one_line(error.message)
            raise
        except RMTGenomicsError as error:
            raise click.ClickException(one_line(str(error))) from error
        except KeyboardInterrupt as stop:
            message = " ".join(["Stopped by Ctrl-C.", *map(str, stop.args)])
            click.echo(one_line(message), err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # the reader of a pipe, such as head, has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit()
        except (OSError, MemoryError, RuntimeError, ValueError) as error:
            if (reason := _explanation(error)) is None:
                raise
            raise click.ClickException(one_line(reason)) from error


def _explanation(error: Exception) -> str | None:
    """Return what a user should know of an error that is not ours; None if it is a bug."""
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        if is_disk_full(error):
            return (
                f"{where}no space is left on the disk, but the output needs some. Free some space, "
                "or give an --out on another disk."
            )
        return f"{where}{error.strerror}, but the command must be able to use it. Check the path."
    if "null byte" in str(error):
        return "a path holds a NUL character, but no name of a file may. Correct it."
    return out_of_memory(error)


class _StderrHandler(logging.Handler):
    """Write messages to stderr: one line each, or soft-wrapped with colour on a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        message, prefix, style = self.format(record), "", ""
        if record.exc_info is None:  # a traceback has several lines
            message = one_line(message)
        if record.levelno >= logging.ERROR:
            prefix, style = "Error: ", "bold red"
        elif record.levelno >= logging.WARNING:
            prefix, style = "Warning: ", "bold yellow"
        text = f"{prefix}{message}\n"
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.text import Text

            console = Console(stderr=True)
            with console.capture() as captured:
                console.print(Text.assemble((prefix, style), message), soft_wrap=True)
            text = captured.get()
        # click writes to what sys.stderr is now: a live progress bar of rich replaces it
        click.echo(text, nl=False, err=True)


def chosen_level(*, quiet: bool, verbose: bool) -> int:
    """Return the least level of the log messages that are to be shown.

    Raises:
        click.UsageError: If both are asked for.
    """
    if quiet and verbose:
        raise click.UsageError("-q and -v exclude each other.")
    return logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO


def _level_option(name: str, text: str) -> click.Option:
    """Make the option -q or -v of a command: the same as that before its name."""

    def choose(context: click.Context, option: click.Parameter, is_set: bool) -> None:  # noqa: FBT001 (click's signature)
        flags = context.find_root().params
        if is_set and not context.resilient_parsing:
            flags[str(option.name)] = True
            level = chosen_level(quiet=flags["quiet"], verbose=flags["verbose"])
            logging.getLogger("rmt_genomics").setLevel(level)

    names = (f"-{name[0]}", f"--{name}")
    return click.Option(names, is_flag=True, expose_value=False, callback=choose, help=text)


@contextmanager
def messages_on_stderr(level: int) -> Iterator[None]:
    """Show log messages of this package, and its warnings (each once), on stderr.

    Args:
        level: The least level that is shown, such as ``logging.INFO``.
    """
    logger = logging.getLogger("rmt_genomics")
    handler, old_level, old_propagate = _StderrHandler(), logger.level, logger.propagate
    shown: set[str] = set()
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, RMTGenomicsWarning):
                show_others(message, category, *where, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                logger.warning("%s", message)

        warnings.showwarning = show
        warnings.simplefilter("always", RMTGenomicsWarning)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False  # a handler of another library would show each message again
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(old_level)
            logger.propagate = old_propagate
