"""Files that were cut, spliced, repeated and flipped by chance: what is read equals the original, or it is refused."""

from __future__ import annotations

import random
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.agents import make_small, penalized_model
from helpers.models import small_ensemble
from helpers.runs import leave_run

from mopo_agents.policies import load_policy, save_policy
from mopo_agents.runs.results import read_run
from mopo_env._utils.store import read_artifact
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.errors import MopoError
from mopo_env.models.ensemble import load_ensemble, save_ensemble
from mopo_env.terminations.learned import LearnedTermination, load_termination, save_termination
from mopo_env.toys import LinearGaussianSystem

SMALL = [pytest.param(100), pytest.param(3_000, marks=pytest.mark.slow)]
LOADERS: dict[str, Callable[[Path], Any]] = {
    "dataset": load_transitions,
    "ensemble": load_ensemble,
    "termination": load_termination,
    "policy": load_policy,
}


def write(kind: str, folder: Path) -> None:
    if kind == "dataset":
        save_transitions(LinearGaussianSystem().transitions(num_episodes=2, num_steps=5), folder)
    elif kind == "ensemble":
        save_ensemble(small_ensemble(), folder)
    elif kind == "termination":
        save_termination(LearnedTermination(2, 1, hidden_sizes=(4,)), folder)
    elif kind == "policy":
        save_policy(make_small("SAC", penalized_model(), policy_kwargs={"net_arch": [8]}), folder)
    else:
        leave_run(folder)


def damaged(body: bytes, chance: random.Random) -> bytes:
    """Return the content with one to three accidents."""
    content = bytearray(body)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(content) + 1)
        end = min(len(content), start + chance.choice([1, 2, 8, 64, 512]))
        piece = content[start:end]
        match chance.randrange(6):
            case 0 if piece:
                content[start] ^= 1 << chance.randrange(8)
            case 1:
                del content[start:end]
            case 2:
                content[start:start] = piece
            case 3:
                content[start:end] = chance.randbytes(len(piece))
            case 4:
                other = chance.randrange(len(content) + 1)
                content[other : other + len(piece)] = piece
            case _:
                del content[start:]
        if not content:
            break
    return bytes(content)


@pytest.mark.parametrize("count", SMALL)
@pytest.mark.parametrize("kind", [*LOADERS, "run"])
def test_equal_or_refused(kind: str, count: int, tmp_path: Path) -> None:
    """Each within a second, and without memory."""
    write(kind, tmp_path / "sound")
    shutil.copytree(tmp_path / "sound", tmp_path / "bad")
    tables = {".csv"} if kind == "run" else set()  # most damage to a number of a table is another number
    files = sorted(path.name for path in (tmp_path / "sound").iterdir() if path.is_file() and path.suffix not in tables)
    chance, refused = random.Random(0), 0

    def read(folder: Path) -> Any:
        if kind == "run":
            return read_run(folder)
        LOADERS[kind](folder)
        tensors, metadata = read_artifact(folder, kind)
        return {name: array.tobytes() for name, array in tensors.items()}, metadata

    expected = read(tmp_path / "sound")
    if kind == "run":
        expected = repr(expected).replace("sound", "bad")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = 0.0
    for _ in range(count):
        name = chance.choice(files)
        body = (tmp_path / "sound" / name).read_bytes()
        (tmp_path / "bad" / name).write_bytes(damaged(body, chance))
        began = time.process_time()
        try:
            found = read(tmp_path / "bad")
        except MopoError:
            refused += 1
        else:
            assert (repr(found) if kind == "run" else found) == expected
        slowest = max(slowest, time.process_time() - began)
        (tmp_path / "bad" / name).write_bytes(body)
    assert refused > 0.9 * count
    assert slowest < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    print(f"{kind}: {count} damaged, {refused} refused, {count - refused} read as they were")  # noqa: T201


@pytest.mark.parametrize("name", ["with spaces", "λ −数", "a'b\"c", "-dash", "tab\tand\nnewline"])
def test_folders_of_any_name(name: str, tmp_path: Path) -> None:
    data = LinearGaussianSystem().transitions(num_episodes=2, num_steps=5)
    save_transitions(data, tmp_path / name / "missing parent")
    np.testing.assert_array_equal(load_transitions(tmp_path / name / "missing parent").rewards, data.rewards)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside", Path("/dev/null")):
        with pytest.raises(MopoError) as caught:
            save_transitions(LinearGaussianSystem().transitions(num_episodes=2, num_steps=5), folder)
        assert str(folder) in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"
