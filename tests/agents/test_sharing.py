"""Sharing: what arrives is what was sent, and nothing else; the hub is replaced at its boundary."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.agents import files
from helpers.runs import run

from mopo_agents import sharing
from mopo_agents.policies import load_policy
from mopo_env import load_dataset
from mopo_env._utils.json_files import json_text, read_json
from mopo_env.errors import ConfigError, MopoError, StoreError


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(dataset, tmp_path_factory.mktemp("shared") / "run", epochs=1).folder


class Hub:
    """What `push` and `pull` use of the hub's package, on a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.HfApi = lambda: self

    def create_repo(self, *, repo_id: str, exist_ok: bool) -> None:
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id: str, revision: str | None, folder_path: str, commit_message: str) -> None:
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)

    def snapshot_download(self, repo_id: str, *, revision: Any, local_dir: str, allow_patterns: list[str]) -> None:
        for pattern in allow_patterns:
            for path in (self.root / repo_id).glob(pattern):
                shutil.copy(path, local_dir)


@pytest.mark.parametrize("on_the_hub", [False, True])
def test_a_run_arrives_with_its_data_and_ensemble(
    on_the_hub: bool, trained: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(sharing, "require_extra", lambda module, extra: hub)
    place = "hf://me/my-policy" if on_the_hub else str(tmp_path / "there")
    sent = sharing.push(trained, place)
    assert (sent.parts, sent.left_out) == (("dataset", "ensemble", "policy"), ())
    there = hub.root / "me" / "my-policy" if on_the_hub else Path(place)
    readme = (there / "README.md").read_text()
    assert "## Dataset" in readme
    assert "## Ensemble" in readme
    assert "Agent SAC, method ours, seed 0" in readme
    (there / "setup.py").write_text("raise SystemExit")
    arrived = sharing.pull(place, tmp_path / "here")
    assert arrived.parts == sent.parts
    assert {path.suffix for path in (tmp_path / "here").iterdir()} == {".json", ".safetensors", ".md"}
    assert load_dataset(tmp_path / "here").fingerprint == load_dataset(dataset).fingerprint
    load_policy(tmp_path / "here")


def test_what_is_damaged_is_refused(trained: Path, tmp_path: Path) -> None:
    """On the way out and on the way in; nothing is written then."""
    sharing.push(trained, str(tmp_path / "there"))
    (tensors,) = (tmp_path / "there").glob("policy-*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"x")
    before = files(tmp_path)
    with pytest.raises(StoreError, match="policy"):
        sharing.pull(str(tmp_path / "there"), tmp_path / "here")
    with pytest.raises(StoreError, match="policy"):
        sharing.push(tmp_path / "there", str(tmp_path / "again"))
    assert files(tmp_path) == before


def test_other_data_are_left_out_and_named(trained: Path, tmp_path: Path) -> None:
    """A policy must not travel with data on which it was not trained."""
    copy = shutil.copytree(trained, tmp_path / "run")
    record = read_json(copy / "config.json")
    sharing.push(record["dataset"], str(tmp_path / "data"))
    assert sharing.push(copy, str(tmp_path / "there")).left_out == ()
    (copy / "config.json").write_bytes(json_text({**record, "dataset_fingerprint": "0" * 64}))
    found = sharing.push(copy, str(tmp_path / "elsewhere"))
    assert (found.parts, len(found.left_out)) == (("ensemble", "policy"), 1)


def test_nothing_is_replaced(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    for share in (
        lambda: sharing.push(trained, str(tmp_path / "there")),
        lambda: sharing.pull("x", tmp_path / "there"),
    ):
        with pytest.raises(ConfigError, match="found something there"):
            share()
    with pytest.raises(MopoError):
        sharing.pull(str(tmp_path / "nowhere"), tmp_path / "here")
    assert not (tmp_path / "here").exists()
