"""An exported policy acts as the saved one does, where nothing of this project is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from helpers.agents import make_small, penalized_model

from mopo_agents.agents import AGENTS, get_agent_class, make_offline_agent
from mopo_agents.baselines import OfflineAgent
from mopo_agents.export import export_policy
from mopo_agents.policies import load_policy, save_policy
from mopo_env.errors import ConfigError, MissingExtraError

Mopo = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
OBSERVATIONS = np.random.default_rng(1).normal(size=(1000, 3), scale=3.0).astype(np.float32)
EXPORTED = [name for name in AGENTS if not name.startswith("SBX-")]
# Run where this project and its agents cannot be imported: -I ignores PYTHONPATH, and the finder refuses the rest.
ELSEWHERE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mopo_env", "mopo_agents", "stable_baselines3", "sb3_contrib", "gymnasium"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import json, pathlib, numpy as np
folder = pathlib.Path(sys.argv[1])
observations = np.load(folder / "observations.npy")
for path in sorted(folder.glob("*.onnx")) + sorted(folder.glob("*.pt2")):
    if path.suffix == ".onnx":
        import onnxruntime
        session = onnxruntime.InferenceSession(path)
        found, one = (session.run(["action"], {"observation": o})[0] for o in (observations, observations[:1]))
        said = session.get_modelmeta().custom_metadata_map
    else:
        import torch
        said = {"agent": "", "action_space": ""}
        module = torch.export.load(path, extra_files=said).module()
        found, one = (module(torch.from_numpy(o)).numpy() for o in (observations, observations[:1]))
    assert one.shape == found[:1].shape
    np.savez(folder / f"{path.name}.npz", found=found, said=json.dumps(said))
"""


@pytest.fixture(autouse=True)
def _without_checks_of_shapes() -> Iterator[None]:
    """The tests check the shapes that functions declare, and PyTorch takes the checked sizes for constants."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def saved(name: str, folder: Path, *, discrete: bool = False, **options: Any) -> Any:
    """Save an agent after a few updates, and return its policy."""
    options = {"seed": 3, "policy_kwargs": {"net_arch": [16]}, **options}
    if issubclass(get_agent_class(name), OfflineAgent):
        agent = make_offline_agent(name, penalized_model().transitions, gradient_steps=3, **options).learn(3)
    else:
        members = 2 if name == "MOBILE" else None
        model = penalized_model(4 if discrete or "DQN" in name else None, num_members=members)
        agent = make_small(name, model, horizon=5, **options).learn(8 * 5, log_interval=None)
    save_policy(agent, folder, metadata={"task": "toy", "epoch": 2})
    return load_policy(folder)


def acts_elsewhere(folder: Path) -> dict[str, tuple[np.ndarray, dict[str, str]]]:
    """Return the actions and the metadata of each exported file, from a process that has only its runtime."""
    np.save(folder / "observations.npy", OBSERVATIONS)
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", ELSEWHERE, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = {path.name.removesuffix(".npz"): np.load(path) for path in folder.glob("*.npz")}
    return {name: (content["found"], json.loads(str(content["said"]))) for name, content in read.items()}


# One of each way to choose an action; every export to ONNX takes a second.
KINDS = [("SAC", False), ("CrossQ", False), ("BEAR", False), ("PPO", False), ("PPO", True), ("DQN", True)]
ALL_KINDS = [(name, "DQN" in name) for name in EXPORTED] + [("PPO", True), ("A2C", True)]


@pytest.mark.parametrize("kinds", [KINDS, pytest.param(ALL_KINDS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_agents_act_the_same_elsewhere(kinds: list[tuple[str, bool]], tmp_path: Path) -> None:
    """In raw units, on 1,000 observations, to 1e-6 of the width of the action space; and so does a batch of one."""
    pytest.importorskip("onnxruntime")
    expected = {}
    for name, discrete in kinds:
        policy = saved(name, tmp_path / f"{name}-{discrete}", discrete=discrete)
        for format, ending in (("onnx", "onnx"), ("torch", "pt2")):
            file = tmp_path / f"{name}-{discrete}.{ending}"
            export_policy(tmp_path / f"{name}-{discrete}", file, format=format)  # type: ignore[arg-type]
            expected[file.name] = policy.predict(OBSERVATIONS, deterministic=True)[0]
    found = acts_elsewhere(tmp_path)
    assert found.keys() == expected.keys()
    for name, actions in expected.items():
        np.testing.assert_allclose(found[name][0], actions, rtol=0, atol=1e-6 * 10, err_msg=name)
        assert actions.std() > 0, "else any policy would do"
    _, said = found["SAC-False.onnx"]
    assert json.loads(said["agent"]) == "SAC"
    assert (json.loads(said["task"]), json.loads(said["epoch"])) == ("toy", 2)
    assert json.loads(said["action_space"])["low"] == [0.0, -3.0]
    assert json.loads(found["DQN-True.pt2"][1]["action_space"]) == {"type": "Discrete", "n": 4, "start": 0}


def test_what_cannot_be_exported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written. A policy of SBX is an agent, because JAX alone can make its networks."""
    saved("SAC", tmp_path / "run")
    monkeypatch.setattr("mopo_agents.export.load_policy", lambda folder: object())
    with pytest.raises(ConfigError, match="a policy of SAC cannot be exported, because it computes with JAX"):
        export_policy(tmp_path / "run", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_without_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other format needs only PyTorch."""
    saved("SAC", tmp_path / "run")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"mopo-env\[export\]"):
        export_policy(tmp_path / "run", tmp_path / "out.onnx")
    checks = torch.distributions.Distribution._validate_args
    export_policy(tmp_path / "run", tmp_path / "out.pt2", format="torch")
    assert torch.distributions.Distribution._validate_args == checks


def test_the_command(mopo: Mopo, tmp_path: Path) -> None:
    saved("SAC", tmp_path / "run")
    code, out, err = mopo("export", tmp_path / "run", "--out", "policy.pt2", "--format", "torch")
    assert (code, err) == (0, "")
    assert f"The policy in {tmp_path / 'run'} is in policy.pt2" in out
    code, _, err = mopo("export", tmp_path / "run", "--out", "policy.pt2")
    assert (code, err) == (
        2,
        "mopo: --out: policy.pt2 exists already. Choose another file, or pass --overwrite to replace it.\n",
    )


def test_the_program_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/export.md shows acts as the policy does."""
    pytest.importorskip("onnxruntime")
    policy = saved("SAC", tmp_path / "policy")
    export_policy(tmp_path / "policy", tmp_path / "policy.onnx")
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    found = {"observations": OBSERVATIONS}
    exec(program, found)  # noqa: S102
    np.testing.assert_allclose(found["actions"], policy.predict(OBSERVATIONS, deterministic=True)[0], atol=1e-5)
