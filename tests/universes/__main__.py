"""Tries projections on the worlds: `python -m tests.universes --seeds 20 [names]`.

`--reference` projects at three flat rates. `--write-expected` simulates what each plan saves on
average and writes `expected.json`; do that after a change of a world.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from tests.universes.run import EXPECTED, Verdict, judge_seed, make_expected
from tests.universes.world import World
from tests.universes.worlds import WORLDS
from ttplan.model.plan import Projection

HEADER = (
    f"{'world':33} {'kind':7} {'shown':>8} {'95 % interval':^22} {'truth':>8} {'sign':>7}"
    f" {'covered':>7} {'explained':>9}"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.universes", description=__doc__)
    parser.add_argument("names", nargs="*", help="worlds; all if left out")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--write-expected", action="store_true")
    options = parser.parse_args()
    unknown = set(options.names) - set(WORLDS)
    if unknown:
        parser.error(f"no world {', '.join(sorted(unknown))}; there are {', '.join(WORLDS)}")
    worlds = [WORLDS[name] for name in options.names or WORLDS]
    if options.write_expected:
        write_expected(worlds)
        return 0
    projection: Projection = "reference" if options.reference else "full"
    wrong, start = 0, time.perf_counter()
    print(HEADER, flush=True)
    for world in worlds:
        try:
            verdicts = [
                judge_seed(world, options.first + seed, projection) for seed in range(options.seeds)
            ]
        except Exception as error:  # shown, so that the other worlds are tried
            print(f"{world.name:33} {type(error).__name__}: {error}", flush=True)
            wrong += 1
            continue
        line, right = describe(world, verdicts)
        wrong += not right
        print(line, flush=True)
    minutes = (time.perf_counter() - start) / 60
    print(f"{len(worlds) - wrong} of {len(worlds)} worlds are right, {minutes:.0f} minutes")
    return 1 if wrong else 0


def write_expected(worlds: Sequence[World]) -> None:
    """Simulate the average savings of some worlds and keep those of the others."""
    known = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    known |= make_expected(worlds)
    kept = {name: known[name] for name in sorted(WORLDS) if name in known}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(pair)}" for name, pair in kept.items())
    EXPECTED.write_text(f"{{\n{lines}\n}}\n")


def describe(world: World, verdicts: Sequence[Verdict]) -> tuple[str, bool]:
    """A line on a world: what the first seed shows, and in how many windows the sign was right, the
    interval covered the truth, and the missing assumption explained it."""
    first, n = verdicts[0], len(verdicts)
    signs = sum(v.sign for v in verdicts)
    covered = sum(v.covered for v in verdicts)
    explained = sum(v.explained for v in verdicts)
    right = {
        "known": min(signs, covered) >= 0.9 * n,
        "sign": signs >= 0.9 * n,
        "unknown": explained >= 0.9 * n,
    }[world.kind]
    shown = first.shown
    counts = (f"{signs}/{n}", f"{covered}/{n}", f"{explained}/{n}" if world.missing else "")
    return (
        f"{world.name:33} {world.kind:7} {shown.savings:8.2f} ({shown.low:8.2f} to"
        f" {shown.high:8.2f}) {first.expected_usd:8.2f} {counts[0]:>7} {counts[1]:>7}"
        f" {counts[2]:>9} {'right' if right else 'WRONG'}"
    ), right


if __name__ == "__main__":
    sys.exit(main())
