"""`ttplan`: run a command, and turn what goes wrong into one clear line and an exit code."""

from __future__ import annotations

import os
import sys

import click

from ttplan.cli.commands import app
from ttplan.model.errors import TtplanError

DEBUG = "TTPLAN_DEBUG"


def main(arguments: list[str] | None = None) -> None:
    """Run `ttplan` and exit: 0 good, 1 a check failed, 2 bad usage or input, 3 the store could not do it, 4 a chain that is only
    consistent with its own key."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run `ttplan` and return its exit code. Errors are one line on stderr."""
    try:
        code = app(arguments, prog_name="ttplan", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.Abort:
        return _complain("stopped", 130)
    except click.ClickException as error:
        hint = "; try `ttplan --help`" if isinstance(error, click.UsageError) else ""
        return _complain(error.format_message().replace("\n", " ") + hint, 2)
    except TtplanError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("stopped; nothing was half-written", 130)
    except BrokenPipeError:
        # The reader of our output went away: not an error, and nothing may be written to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        return _complain(f"this should not happen: {type(error).__name__}: {error}; set {DEBUG}=1 to see where", 3)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    print(f"ttplan: {' '.join(message.split())}", file=sys.stderr)
    return code
