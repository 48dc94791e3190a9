"""The command line: each command is one method of the library, parsed and shown."""

from ttplan.cli.entry import main

__all__ = ["main"]
