"""Train for an hour while the run is killed again and again; a program, not a test.

``python tests/reliability/soak.py --minutes 60 --seed 0`` trains the same small run twice. The first time nothing
disturbs it, so its memory and its descriptors can be watched over one long life. The second time it dies every few
minutes by SIGKILL, SIGTERM or SIGINT and is resumed, while other processes try to resume the same folder. All of them
must be refused, and both runs must leave the same bits.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.interrupted import outcome
from helpers.runs import process_of

_MOPO = [sys.executable, "-c", "from mopo_agents.cli.main import main; main()"]
# What a run ends with when it was sent a signal while it trained.
_CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 128 + signal.SIGINT}
_PICTURE = "learning_curve.png"
_SETTLING = 60.0  # seconds until imports, buffers and allocators have the size that they keep


class Watch:
    """The memory and the open descriptors of a process, read from /proc."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, int]] = []  # seconds, MB, descriptors

    def look(self, process: subprocess.Popen[str], seconds: float) -> None:
        folder = Path("/proc") / str(process.pid)
        try:
            found = re.search(r"VmRSS:\s+(\d+) kB", (folder / "status").read_text())
            descriptors = len(list((folder / "fd").iterdir()))
        except OSError:  # it has just ended
            return
        if found:
            self.samples.append((seconds, int(found[1]) / 1024, descriptors))

    def growth(self) -> dict[str, float]:
        """Return medians of the first and the last third of what came after the start."""
        settled = [sample for sample in self.samples if sample[0] > _SETTLING]
        third = max(len(settled) // 3, 1)
        first, last = settled[:third], settled[-third:]
        if not settled:
            return {}
        one, two = (median(sample[1] for sample in part) for part in (first, last))
        return {
            "samples": len(settled),
            "megabytes first": round(one, 1),
            "megabytes last": round(two, 1),
            "growth": round(two / one - 1, 4),
            "descriptors first": median(sample[2] for sample in first),
            "descriptors last": median(sample[2] for sample in last),
        }


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start `mopo`, with the handlers of signals that a terminal would give it."""
    return subprocess.Popen(
        [*_MOPO, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def options_of(task: str, epochs: int, seed: int, folder: Path) -> list[object]:
    of_size = ["--epochs", epochs, "--rollout-batch-size", 200, "--gradient-steps", 20]
    of_looking = ["--evaluate-every", 200, "--evaluation-episodes", 1, "--score-every", 100, "--checkpoint-every", 500]
    network = ["--agent-options", "net_arch=[32, 32]"]
    return ["train", task, *of_size, *of_looking, *network, "--save-every", 0.1, "--seed", seed, "--out", folder]


def undisturbed(arguments: list[object]) -> tuple[float, Watch]:
    """Train to the end; return the seconds it took."""
    watch, began = Watch(), time.monotonic()
    process = start(*arguments)
    while process.poll() is None:
        time.sleep(1)
        watch.look(process, time.monotonic() - began)
    if process.returncode != 0:
        sys.exit(f"the undisturbed run ended with {process.returncode}: {process.communicate()[1]}")
    return time.monotonic() - began, watch


def second_is_refused(folder: Path, first: subprocess.Popen[str]) -> None:
    """Try to resume the run of another process, and check what the refusal says."""
    second = start("train", "--resume", folder)
    said = second.communicate()[1]
    finished = first.poll() is not None and "the run is finished" in said
    if second.returncode != 2 or not (f"process {first.pid} on " in said or finished):
        sys.exit(f"a second process on {folder} ended with {second.returncode}: {said}")


def is_training(folder: Path, process: subprocess.Popen[str]) -> bool:
    try:
        return process_of(folder) == process.pid
    except (OSError, ValueError):
        return False


def disturbed(arguments: list[object], folder: Path, seed: int, every: float) -> dict[str, object]:
    """Train to the end in many lives; return what was counted."""
    choose = random.Random(seed)
    deaths: Counter[str] = Counter()
    refused, lives, attempt, largest = 0, 0, arguments, 0.0
    began = time.monotonic()
    while not (folder / "result.json").exists():
        watch, born = Watch(), time.monotonic()
        process, life = start(*attempt), choose.uniform(0.2, 1.8) * every
        lives += 1
        while process.poll() is None and time.monotonic() - born < life:
            if is_training(folder, process):
                second_is_refused(folder, process)
                refused += 1
            time.sleep(min(5.0, every / 10))
            watch.look(process, time.monotonic() - born)
        sent = choose.choice(list(_CODES))
        if process.poll() is None:
            training = is_training(folder, process)
            process.send_signal(sent)
            code, said = process.wait(), process.communicate()[1]
            deaths[sent.name if training else f"{sent.name} before training"] += 1
            if code != _CODES[sent] and not (folder / "result.json").exists():
                sys.exit(f"{sent.name} ended the run with {code}: {said}")
        elif process.returncode != 0:
            sys.exit(f"a life ended with {process.returncode}: {process.communicate()[1]}")
        largest = max([largest, *(sample[1] for sample in watch.samples)])
        attempt = ["train", "--resume", folder] if (folder / "config.json").exists() else arguments
        print(f"{time.monotonic() - began:7.0f} s  life {lives}: {dict(deaths)}, {refused} refused", flush=True)
    return {
        "seconds": round(time.monotonic() - began),
        "lives": lives,
        "deaths": dict(deaths),
        "second processes refused": refused,
        "largest megabytes": round(largest, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the whole program, about")
    parser.add_argument("--every", type=float, default=2.0, help="minutes between two deaths, on average")
    parser.add_argument("--seed", type=int, default=0, help="of the run, of the deaths and of their moments")
    parser.add_argument("--task", default="halfcheetah-mixed")
    parser.add_argument("--epochs", type=int, help="of both runs; default: as many as fit into the minutes")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        epochs = options.epochs
        if epochs is None:
            pace = {n: undisturbed(options_of(options.task, n, 0, Path(scratch) / str(n)))[0] for n in (1, 201)}
            of_an_epoch = (pace[201] - pace[1]) / 200
            # The second run takes longer: every life begins with imports, and others look at the folder all the while.
            epochs = max(int(options.minutes * 60 * 0.35 / of_an_epoch), 10)
            print(f"{of_an_epoch:.3f} s an epoch, so {epochs} epochs", flush=True)
        whole, killed = Path(scratch) / "whole", Path(scratch) / "killed"
        seconds, watch = undisturbed(options_of(options.task, epochs, options.seed, whole))
        growth = watch.growth()
        print(f"undisturbed: {seconds:.0f} s, {growth}", flush=True)
        report = disturbed(
            options_of(options.task, epochs, options.seed, killed), killed, options.seed, options.every * 60
        )
        # A death after the result leaves what the next resume removes, and no picture.
        if "the run is finished" not in start("train", "--resume", killed).communicate()[1]:
            sys.exit("the disturbed run is not finished")
        one, two = ({**left, "files": set(left["files"]) - {_PICTURE}} for left in (outcome(whole), outcome(killed)))
        different = [name for name in one.keys() | two.keys() if one.get(name) != two.get(name)]
        report |= {"epochs": epochs, "undisturbed": growth, "different": different}
        print(json.dumps(report, indent=2))
        # A short run has too few samples to tell growth from an evaluation that is under way.
        flat = growth.get("samples", 0) < 30 or (
            abs(growth["growth"]) < 0.05 and growth["descriptors last"] <= growth["descriptors first"]
        )
        sys.exit(0 if flat and not different else "memory or descriptors grew, or the runs differ")


if __name__ == "__main__":
    main()
