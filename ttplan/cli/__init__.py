"""The command line: each command is one method of the library, parsed and shown."""

from ttplan.cli.main import main

__all__ = ["main"]
