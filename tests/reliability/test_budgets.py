"""A small file does not take much memory: sizes are checked before anything is read, parsed or built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.agents import make_small, penalized_model, quiet_jax
from helpers.damage import rewrite_json, rewritten, set_size, set_tensor
from helpers.models import small_ensemble
from helpers.runs import leave_run

from mopo_agents.policies import load_policy, save_policy
from mopo_agents.runs.results import read_run
from mopo_env import load_table
from mopo_env._utils.json_files import LARGEST_JSON
from mopo_env._utils.store import read_artifact, write_artifact
from mopo_env.errors import DatasetError, StoreError
from mopo_env.models.ensemble import load_ensemble, save_ensemble
from mopo_env.terminations.learned import LearnedTermination, load_termination, save_termination

# Prints by how many MB the largest memory of the process grew, and how the call ended.
MEASURED = """
import resource, sys
from mopo_agents.policies import load_policy
from mopo_env import load_table
from mopo_env.models.ensemble import load_ensemble
from mopo_env.errors import MopoError
import torch, pyarrow.parquet
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
load_policy(sys.argv[2]) if sys.argv[2:] else None
before, outcome = peak(), "loaded"
try:
    {call}
except MopoError as error:
    outcome = type(error).__name__
print(outcome, peak() - before)
"""


def measured(call: str, *arguments: object) -> tuple[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(call=call), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    outcome, growth = done.stdout.split()
    return outcome, float(growth)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    save_policy(make_small("SAC", penalized_model(), policy_kwargs={"net_arch": [8]}), tmp_path / "policy")
    return tmp_path / "policy"


def asking(folder: Path, **options: Any) -> Path:
    return rewritten(folder, "policy", lambda tensors, metadata: metadata["policy_options"].update(options))


GREEDY: list[dict[str, Any]] = [
    {"net_arch": [20_000, 20_000]},
    {"net_arch": [2**20] * 3},
    {"net_arch": {"pi": [8], "qf": [30_000, 30_000]}},
    {"net_arch": [1] * 100_000},
    {"n_critics": 1_000_000},
    {"net_arch": [10**15]},
    {"net_arch": [10**60]},
]


@pytest.mark.parametrize("options", GREEDY, ids=lambda options: str(options)[:40])
def test_a_greedy_policy_is_refused(options: dict[str, Any], policy: Path) -> None:
    """A policy.json of 200 bytes once took 4.6 GB."""
    asking(policy, **options)
    with pytest.raises(StoreError):
        load_policy(policy)


def test_a_greedy_policy_takes_no_memory(policy: Path, tmp_path: Path) -> None:
    """Just below what is refused at once, and still without memory: its networks are made without content."""
    save_policy(make_small("SAC", penalized_model(), policy_kwargs={"net_arch": [8]}), tmp_path / "honest")
    asking(policy, net_arch=[11_000, 11_000])
    outcome, growth = measured("load_policy(sys.argv[1])", policy, tmp_path / "honest")
    assert outcome == "StoreError"
    assert growth < 100


@quiet_jax
@pytest.mark.parametrize("options", [*GREEDY[:5], {"net_arch": [17_000, 17_000]}], ids=lambda o: str(o)[:40])
def test_a_greedy_policy_of_sbx_is_refused(options: dict[str, Any], policy: Path) -> None:
    """Its networks can be made only with content, so what they would take is computed first."""
    asking(policy, **options)
    rewritten(policy, "policy", lambda tensors, metadata: metadata.update(agent="SBX-SAC"))
    with pytest.raises(StoreError, match="expected at most"):
        load_policy(policy)


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_sizes", [1] * 100_000), ("hidden_sizes", [10**6] * 50), ("num_members", 10**9), ("action_dim", 10**12)],
    ids=lambda value: str(value)[:20],
)
def test_a_greedy_ensemble_or_rule_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    save_ensemble(small_ensemble(), tmp_path)
    save_termination(LearnedTermination(2, 1, hidden_sizes=(4,), inputs="transition"), tmp_path)
    for artifact, load in (("ensemble", load_ensemble), ("termination", load_termination)):
        rewritten(tmp_path, artifact, set_size(name, value))
        layers = isinstance(value, list) and len(value) > 100
        with pytest.raises(StoreError, match="expected at most 100" if layers else "architecture"):
            load(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
@pytest.mark.parametrize("artifact", ["policy", "ensemble", "termination"])
def test_weights_are_finite_and_real(artifact: str, value: complex, policy: Path, tmp_path: Path) -> None:
    """A policy of NaN acts without an error, and of a complex number PyTorch drops one half without a word."""
    save_ensemble(small_ensemble(), tmp_path)
    save_termination(LearnedTermination(2, 1, hidden_sizes=(4,)), tmp_path)
    folder, load, name = {
        "policy": (policy, load_policy, "weights/actor.mu.bias"),
        "ensemble": (tmp_path, load_ensemble, "mean_head.bias"),
        "termination": (tmp_path, load_termination, "layers.0.bias"),
    }[artifact]
    array = read_artifact(folder, artifact)[0][name]
    array = array.astype(np.complex64) if isinstance(value, complex) else array.copy()
    array.flat[0] = value
    rewritten(folder, artifact, set_tensor(name, array))
    with pytest.raises(StoreError, match=r"non-finite|shape|kept as safetensors|not a "):
        load(folder)  # type: ignore[operator]


@quiet_jax
@pytest.mark.slow
def test_weights_of_sbx_are_finite(tmp_path: Path) -> None:
    save_policy(make_small("SBX-SAC", penalized_model()), tmp_path)
    tensors, _ = read_artifact(tmp_path, "policy")
    name = min(name for name in tensors if name.startswith("weights/"))
    rewritten(tmp_path, "policy", set_tensor(name, np.full_like(tensors[name], np.nan)))
    with pytest.raises(StoreError, match="not finite"):
        load_policy(tmp_path)


class TestSizes:
    """Files are refused by size before they are read."""

    @pytest.mark.parametrize("name", ["config.json", "result.json"])
    def test_a_run_of_gigabytes(self, name: str, tmp_path: Path) -> None:
        folder = leave_run(tmp_path / "run")
        with (folder / name).open("r+b") as stream:
            stream.truncate(2**40)
        with pytest.raises(StoreError, match=f"expected at most {LARGEST_JSON:,}"):
            read_run(folder)

    def test_a_manifest_that_is_too_large_is_not_written(self, tmp_path: Path) -> None:
        """It could not be read again."""
        with pytest.raises(StoreError, match="expected at most"):
            write_artifact(tmp_path / "x", "thing", {}, {"notes": "x" * LARGEST_JSON})
        assert not (tmp_path / "x").exists()

    def test_tensors_of_another_size_than_the_manifest_says(self, tmp_path: Path) -> None:
        write_artifact(tmp_path, "thing", {"a": np.zeros(10)}, {})
        (path,) = tmp_path.glob("*.safetensors")
        with path.open("r+b") as stream:
            stream.truncate(2**42)
        with pytest.raises(StoreError, match="4,398,046,511,104 bytes, expected"):
            read_artifact(tmp_path, "thing")

    def test_tensors_that_are_larger_than_the_machine(self, tmp_path: Path) -> None:
        """And a manifest that says so."""
        write_artifact(tmp_path, "thing", {"a": np.zeros(10)}, {})
        (path,) = tmp_path.glob("*.safetensors")
        with path.open("r+b") as stream:
            stream.truncate(2**42)
        rewrite_json(tmp_path / "thing.json", lambda manifest: manifest["tensors"].update(bytes=2**42))
        with pytest.raises(StoreError, match=r"expected at most .* It is not read"):
            read_artifact(tmp_path, "thing")

    def test_a_pipe_is_no_file(self, tmp_path: Path) -> None:
        """Opening one would wait for ever."""
        folder = leave_run(tmp_path / "run")
        (folder / "config.json").unlink()
        os.mkfifo(folder / "config.json")
        with pytest.raises(StoreError, match="expected a file"):
            read_run(folder)

    def test_a_header_of_megabytes(self, tmp_path: Path) -> None:
        """Each of a million names and shapes takes kilobytes once it is parsed."""
        write_artifact(tmp_path, "thing", {f"{k:0200}": np.zeros(0) for k in range(20_000)}, {})
        with pytest.raises(StoreError, match="a header of"):
            read_artifact(tmp_path, "thing")


class TestParquet:
    """A column can be packed a hundred thousand times."""

    COLUMNS: dict[str, Any] = {"observations": ["s"], "actions": ["a"], "reward": "r", "episode": "e"}  # noqa: RUF012

    @staticmethod
    def write(path: Path, labels: Any, rows: int, **options: Any) -> Path:
        import pyarrow as pa
        from pyarrow import parquet

        numbers = {name: np.random.default_rng(0).normal(size=rows) / 9 for name in "sar"}
        parquet.write_table(pa.table({**numbers, "e": labels}), path, **options)
        return path

    @pytest.mark.parametrize("store_schema", [True, False])
    def test_one_long_label_in_every_row_is_kept_once(self, tmp_path: Path, store_schema: bool) -> None:
        """160 kB once decoded to 20 GB. They are one text, and the rows are one episode."""
        import pyarrow as pa

        labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), pa.array(["x" * 1_000_000]))
        path = self.write(tmp_path / "x.parquet", labels, 20_000, store_schema=store_schema)
        call = f"load_table(sys.argv[1], **{self.COLUMNS!r})"
        outcome, growth = measured(call, path)
        assert outcome == "loaded"
        assert growth < 200

    @pytest.mark.parametrize("column", ["s", "e"])
    def test_one_long_text_where_a_number_belongs(self, tmp_path: Path, column: str) -> None:
        """443 kB once decoded to 20 GB: a column of numbers, or of times, may hold texts too."""
        import pyarrow as pa
        from pyarrow import parquet

        labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2_000, np.int32)), pa.array(["x" * 1_000_000]))
        numbers = {name: np.random.default_rng(0).normal(size=2_000) / 9 for name in "sare"}
        parquet.write_table(pa.table({**numbers, column: labels}), tmp_path / "x.parquet")
        given = {"observations": ["s"], "actions": ["a"], "reward": "r", "time": "e"}
        outcome, growth = measured(f"load_table(sys.argv[1], **{given!r})", tmp_path / "x.parquet")
        assert outcome == "DatasetError"
        assert growth < 200

    @pytest.mark.parametrize("kind", ["list", "struct", "binary"])
    def test_what_is_no_number_is_not_decoded(self, tmp_path: Path, kind: str) -> None:
        """43 kB once decoded to 2 GB."""
        import pyarrow as pa
        from pyarrow import parquet

        wide = {
            "list": lambda: pa.array([[0.0] * 100_000] * 200),
            "struct": lambda: pa.array([{"x": "x" * 100_000}] * 200),
            "binary": lambda: pa.array([b"x" * 100_000] * 200, pa.binary(100_000)),
        }
        numbers = {name: np.random.default_rng(0).normal(size=200) / 9 for name in "are"}
        parquet.write_table(pa.table({**numbers, "s": wide[kind]()}), tmp_path / "x.parquet")
        with pytest.raises(DatasetError, match=r"column 's': found the type .*, expected texts or numbers"):
            load_table(tmp_path / "x.parquet", **self.COLUMNS)

    def test_a_packed_text_is_refused(self, tmp_path: Path) -> None:
        import pyarrow as pa

        labels = pa.array([f"{row // 5:03}" + "x" * 1_000_000 for row in range(60)])
        path = self.write(tmp_path / "x.parquet", labels, 60, use_dictionary=False, compression="zstd")
        assert path.stat().st_size < 160_000
        with pytest.raises(DatasetError, match=r"unpacked bytes, which its .* bytes cannot hold"):
            load_table(path, **self.COLUMNS)

    def test_a_column_of_lists_is_no_label(self, tmp_path: Path) -> None:
        import pyarrow as pa

        path = self.write(tmp_path / "x.parquet", pa.array([[1, 2]] * 10), 10)
        with pytest.raises(DatasetError, match="column 'e': found the type list"):
            load_table(path, **self.COLUMNS)

    @pytest.mark.parametrize("labels", [["a"] * 5 + ["b"] * 5, [1] * 5 + [2] * 5, [True] * 5 + [False] * 5])
    def test_honest_labels_are_read(self, tmp_path: Path, labels: list[Any]) -> None:
        path = self.write(tmp_path / "x.parquet", labels, 10)
        assert len(load_table(path, **self.COLUMNS).episode_ends) == 2
