"""Run the command line inside the test process."""

from click.testing import CliRunner, Result

from rmt_genomics.cli import main


def run(*arguments: object) -> Result:
    """Run ``rmt-genomics ARGUMENTS``. An error that is not ours, a bug, is raised."""
    result = CliRunner().invoke(main, [str(each) for each in arguments], terminal_width=80)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def succeed(*arguments: object) -> Result:
    """Run a command that must work."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def fail(*arguments: object) -> str:
    """Run a command that must fail with exit code 1; return its one line on stderr."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: "), line
    return line.removeprefix("Error: ")
