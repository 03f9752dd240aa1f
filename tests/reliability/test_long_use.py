"""Nothing piles up: descriptors and memory after thousands of resets, steps and saves are what they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Prints the descriptors and the largest memory in MB after a first and after a last block of the same work.
PROGRAM = """
import gc, os, resource, sys
from pathlib import Path
import numpy as np
{setup}
def use():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
for index in range({count}):
    {work}
    if index == {count} // 5:
        print(*use())
print(*use())
"""
SETUPS = {
    "resets and steps": (
        "import gymnasium as gym, mopo_env\\nenv = gym.make(mopo_env.tasks.TOY_ID)",
        "env.reset(seed=index); env.step(env.action_space.sample())",
    ),
    "environments": (
        "import gymnasium as gym, mopo_env",
        "env = gym.make_vec(mopo_env.tasks.TOY_ID, num_envs=4); env.reset(); env.close()",
    ),
    "writes and reads": (
        "from mopo_env._utils.store import read_artifact, write_artifact",
        "write_artifact(Path(sys.argv[1]), 'thing', {'a': np.full(10_000, index)}, {}); "
        "read_artifact(Path(sys.argv[1]), 'thing')",
    ),
    "policies": (
        "from helpers.agents import make_small, penalized_model\\n"
        "from mopo_agents.policies import load_policy, save_policy\\n"
        "agent = make_small('SAC', penalized_model(), policy_kwargs={'net_arch': [8]})",
        "save_policy(agent, Path(sys.argv[1])); load_policy(Path(sys.argv[1]))",
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in Linux's /proc")
@pytest.mark.parametrize(
    ("name", "count"),
    [("resets and steps", 10_000), ("environments", 1_000), ("writes and reads", 5_000), ("policies", 1_000)],
)
def test_nothing_piles_up(name: str, count: int, tmp_path: Path) -> None:
    setup, work = SETUPS[name]
    helpers = Path(__file__).parent.parent
    setup = f"sys.path.insert(0, {str(helpers)!r})\\n{setup}".replace("\\n", "\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setup=setup, work=work, count=count), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (early, early_mb), (late, late_mb) = (map(float, line.split()) for line in done.stdout.splitlines())
    assert late == early
    assert late_mb - early_mb < 20
