"""The command line: each command parses its options, calls the workspace and prints the result."""

from ttplan.cli.entrypoint import main

__all__ = ["main"]
