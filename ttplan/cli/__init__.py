"""The command line: each command is one method of the library, parsed and shown."""

from ttplan.cli.entrypoint import main

__all__ = ["main"]
