"""`ttplan`: run a command, and turn an error into one clear line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import typer

from ttplan.cli import apply, evidence, import_logs, key, plan, quality, routes, store, tlog, verify
from ttplan.cli.options import app
from ttplan.cli.output import name_options
from ttplan.display.text import plain
from ttplan.model.errors import TtplanError

DEBUG = "TTPLAN_DEBUG"
COMMAND_MODULES = (import_logs, plan, quality, apply, routes, verify, evidence, key, tlog, store)
"""Modules that add commands to the app when they are imported."""
OLD_NAMES: dict[str, Callable[..., None]] = {
    "check": import_logs.check_logs,
    "export": evidence.export_chain,
    "history": routes.route_history,
    "keygen": key.generate,
    "watch": routes.watch_routes,
}
"""Commands that had another name before version 1.0. The old names still work but are not shown."""
for _name, _command in OLD_NAMES.items():
    app.command(_name, hidden=True)(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run `ttplan` and exit with one of `options.EXIT_CODES`."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run `ttplan` and return its exit code. An error is one line on stderr."""
    try:
        command = build_command()
        code = command(arguments or ["--help"], prog_name="ttplan", standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # Typer turns an interrupt into this code and drops its message
            raise KeyboardInterrupt
    except typer.Exit as done:
        return int(done.exit_code)
    except typer.Abort:
        return _print_error("stopped; nothing was done", 130)
    except typer.TyperException as error:
        return _print_error(f"{_usage_message(error)}; try `ttplan --help`", 2)
    except TtplanError as error:
        return _print_error(name_options(str(error)), error.exit_code)
    except KeyboardInterrupt:
        return _print_error("stopped; nothing was half-written", 130)
    except BrokenPipeError:
        # The reader of the output is gone: not an error, but Python must not flush stdout later.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        return _print_error(
            f"unexpected {type(error).__name__}: {error}; set {DEBUG}=1 to see the traceback", 3
        )
    return code if isinstance(code, int) else 0


@cache
def build_command() -> Any:
    """Return the command `ttplan` with all its subcommands; building it takes some time."""
    return typer.main.get_command(app)


def _usage_message(error: typer.TyperException) -> str:
    format_message = getattr(error, "format_message", None)
    return str(format_message() if format_message is not None else error).rstrip(".")


def _print_error(message: str, code: int) -> int:
    print(f"ttplan: {plain(message)}", file=sys.stderr)
    return code
