"""Fuzz a loader for minutes; a program, not a test: ``python tests/fuzz/run.py --target dataset --minutes 30``.

With atheris (``pip install atheris``) the mutations follow the coverage of `mopo_env` and `mopo_agents`. Without it,
they are drawn at random. What violates a promise is counted by the place that raised it, and kept in ``--findings``.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")


class Fuzzing:
    """Counts what happens to mutated files."""

    def __init__(self, fuzzed: Any, findings: Path) -> None:
        self.fuzzed, self.findings = fuzzed, findings
        self.names = list(fuzzed.bodies)
        self.executions, self.outcomes, self.found = 0, Counter[str](), Counter[str]()
        self.last = findings / "last"

    def one(self, data: bytes) -> None:
        """Execute an input: one byte chooses the file and whether its checksums are made right, the rest is it."""
        if not data:
            return
        name, resealed = self.names[data[0] % 128 % len(self.names)], data[0] >= 128
        self.last.write_bytes(data)  # a crash in a C library leaves it
        self.executions += 1
        try:
            self.outcomes[self.fuzzed.execute(name, data[1:], resealed=resealed)] += 1
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {str(error)[:80]}"
            key = key if type(error).__name__ != "Violation" else f"{type(error).__name__}: {str(error)[:80]}"
            if not self.found[key]:
                (self.findings / f"{len(self.found)}").write_bytes(data)
                traceback.print_exc()
            self.found[key] += 1

    def report(self, target: str, seconds: float, how: str) -> None:
        """Print the counts in one line of JSON."""
        counts = {"executions": self.executions, "outcomes": dict(self.outcomes), "findings": dict(self.found)}
        print(json.dumps({"target": target, "how": how, "seconds": round(seconds), **counts}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, help="folder; default: a new temporary one")
    parser.add_argument("--replay", type=Path, help="execute this one input, and show what it raises")
    options = parser.parse_args()
    faulthandler.enable()
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is None or options.replay:
        from fuzz.targets import TARGETS, Fuzzed
    else:
        with atheris.instrument_imports(include=["mopo_env", "mopo_agents"]):
            from fuzz.targets import TARGETS, Fuzzed
    from fuzz.mutations import mutate

    findings = options.findings or Path(tempfile.mkdtemp(prefix=f"fuzz-{options.target}-"))
    findings.mkdir(parents=True, exist_ok=True)
    fuzzing = Fuzzing(Fuzzed(TARGETS[options.target], Path(tempfile.mkdtemp())), findings)
    if options.replay:
        data = options.replay.read_bytes()
        print(
            fuzzing.fuzzed.execute(fuzzing.names[data[0] % 128 % len(fuzzing.names)], data[1:], resealed=data[0] >= 128)
        )
        return
    seeds = [
        bytes([place + sealed]) + body
        for place, body in enumerate(fuzzing.fuzzed.bodies.values())
        for sealed in (0, 128)
    ]
    began = time.monotonic()
    if atheris is None:
        number = options.seed << 40
        while time.monotonic() - began < 60 * options.minutes:
            number += 1
            seed = seeds[number % len(seeds)]
            fuzzing.one(seed[:1] + mutate(seed[1:], number))
        fuzzing.report(options.target, time.monotonic() - began, "random")
        return

    def mutated(data: bytes, largest: int, seed: int) -> bytes:
        # Half of them by libFuzzer, which knows what was covered, and half by us, who know numbers and brackets.
        body = mutate(data[1:], seed) if seed % 2 else atheris.Mutate(data[1:], largest - 1)
        return (data[:1] + body)[:largest]

    corpus = Path(tempfile.mkdtemp())
    for place, seed in enumerate(seeds):
        (corpus / str(place)).write_bytes(seed)
    largest = 2 * max(map(len, seeds)) + 4096
    seconds = int(60 * options.minutes)
    arguments = [f"-seed={options.seed + 1}", f"-max_len={largest}", "-timeout=60"]
    arguments += ["-rss_limit_mb=4096", "-print_final_stats=0", "-verbosity=0", str(corpus)]

    def one(data: bytes) -> None:
        fuzzing.one(data)
        if time.monotonic() - began > seconds:  # libFuzzer itself would end the process without a report
            fuzzing.report(options.target, time.monotonic() - began, "atheris")
            os._exit(0)

    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
