"""Fuzz for long: `make fuzz`, or python -m tests.fuzz.run [TARGET…] [--seconds N] [--keep]

With atheris, inputs evolve towards code that was not reached yet; without it they are mutated at
random. A failing input is written to a file that the message names. `--keep` adds inputs that
reached new code to tests/fuzz/corpus.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
SMALL = 4_096
"""The maximum size, in bytes, of a file in the corpus."""
_PIECES = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b" ",
    b"0",
    b"-",
    b"1e16",
    b"e+",
    b"\\u0000",
    b"\xff",
    b"\xe2\x80\xa8",
)


def seeds(name: str) -> list[bytes]:
    """A target's initial inputs: good files and its corpus."""
    kept = sorted((CORPUS / name).glob("*"))
    return [*TARGETS[name].seeds, *(path.read_bytes() for path in kept)]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Change a file in one to four places."""
    content = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(len(content) + 1)
        kind = rng.randrange(4)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[place : place + rng.randrange(1, 40)]
        elif kind == 2:
            content[place:place] = rng.choice(_PIECES)
        else:
            start = rng.randrange(len(content) + 1)
            content[place:place] = content[start : start + rng.randrange(1, 80)]
    return bytes(content)


def fuzz_at_random(name: str, seconds: float, seed: int = 1) -> int:
    """Mutate a target's seeds at random, and return the number of inputs. Raises its errors."""
    rng, known, end, count = random.Random(seed), seeds(name), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(rng.choice(known), rng)
        count += 1
        try:
            TARGETS[name].run(data)
        except BaseException:
            print(f"{name} fails on {_kept(data)}", file=sys.stderr)
            raise
    return count


def _kept(data: bytes) -> Path:
    path = Path(tempfile.gettempdir()) / f"ttplan-fuzz-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def fuzz_with_atheris(name: str, seconds: float, *, keep: bool) -> int:
    """Fuzz a target with atheris in a separate process, and return its exit code."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for data in seeds(name):
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.guided",
            name,
            made,
            f"-max_total_time={int(seconds)}",
            f"-max_len={SMALL}",
        ]
        command += [
            "-print_final_stats=1",
            f"-artifact_prefix={tempfile.gettempdir()}/ttplan-fuzz-{name}-",
        ]
        code = subprocess.run(command).returncode
        if keep:
            _keep(name, folder)
    return code


def _keep(name: str, folder: Path) -> None:
    """Add the smallest files that reach all code reached so far to the corpus."""
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.guided",
        name,
        "-merge=1",
        str(CORPUS / name),
        str(folder),
    ]
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz what reads files from strangers.")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all where left out"
    )
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="add what reached something new to the corpus (with atheris)",
    )
    arguments = parser.parse_args()
    with_atheris = importlib.util.find_spec("atheris") is not None
    for name in arguments.targets or TARGETS:
        if name not in TARGETS:
            raise SystemExit(f"there is no target {name}; expected one of {', '.join(TARGETS)}")
        if with_atheris:
            if fuzz_with_atheris(name, arguments.seconds, keep=arguments.keep):
                raise SystemExit(f"{name} fails; the input is named above")
        else:
            print(
                f"{name}: {fuzz_at_random(name, arguments.seconds):,} inputs at random "
                "(atheris is not installed)"
            )


if __name__ == "__main__":
    main()
