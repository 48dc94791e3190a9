"""`ttplan`: run a command, and turn what goes wrong into one clear line and an exit code."""

from __future__ import annotations

import os
import sys

import typer

from ttplan.cli import (
    chain,
    checks,
    evaluate,
    gateways,
    inspect,
    keys,
    policy,
    proofs,
    reconcile,
    routes,
    stores,
    tlog,
)
from ttplan.cli.commands import app
from ttplan.model.errors import TtplanError

DEBUG = "TTPLAN_DEBUG"
COMMANDS = (
    routes,
    policy,
    gateways,
    reconcile,
    checks,
    inspect,
    chain,
    stores,
    proofs,
    keys,
    tlog,
    evaluate,
)
"""Modules that add commands to the app when they are imported."""


def main(arguments: list[str] | None = None) -> None:
    """Run `ttplan` and exit: 0 good, 1 a check failed, 2 bad usage or input, 3 the store could not do it, 4 a chain that is only
    consistent with its own key."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run `ttplan` and return its exit code. Errors are one line on stderr."""
    try:
        code = app(arguments or ["--help"], prog_name="ttplan", standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # what Typer makes of an interrupt, whose words it drops
            raise KeyboardInterrupt
    except typer.Exit as done:
        return int(done.exit_code)
    except typer.Abort:
        return _complain("stopped; nothing was done", 130)
    except typer.TyperException as error:
        return _complain(f"{_words(error)}; try `ttplan --help`", 2)
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
        return _complain(
            f"this should not happen: {type(error).__name__}: {error}; set {DEBUG}=1 to see where",
            3,
        )
    return code if isinstance(code, int) else 0


def _words(error: typer.TyperException) -> str:
    explain = getattr(error, "format_message", None)
    return str(explain() if explain is not None else error).rstrip(".")


def _complain(message: str, code: int) -> int:
    print(f"ttplan: {' '.join(message.split())}", file=sys.stderr)
    return code
