"""The last save of a run fails after all the work is done: nothing of it may be lost."""

from pathlib import Path

import pytest
from helpers.runs import config, run
from stable_baselines3.common.callbacks import BaseCallback

from mopo_agents.runs.resume import resume
from mopo_agents.runs.train import train
from mopo_env._utils import store
from mopo_env.errors import StoreError


class FillsTheDisk(BaseCallback):
    """Lets writing into a folder fail from the end of the training on."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.folder, self.monkeypatch = folder, monkeypatch

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        real = store.write_file

        def write(path: Path, body: bytes) -> None:
            if self.folder in path.parents:
                raise StoreError(f"{path}: cannot be written: No space left on device.")
            real(path, body)

        self.monkeypatch.setattr(store, "write_file", write)


def tensors_of(folder: Path) -> str:
    """Return the name of a policy's tensors, which has their digest."""
    (file,) = folder.glob("policy-*.safetensors")
    return file.name


def test_the_policy_is_rescued_and_the_run_can_be_finished(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says where the policy is; with room again, the run ends as one that was never disturbed."""
    whole = run(dataset, tmp_path / "whole", save_every=0.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "full"
    with monkeypatch.context() as patch, pytest.raises(StoreError, match="The result is safe in") as caught:
        train(config(dataset, save_every=0.0), folder=folder, progress=False, callback=FillsTheDisk(folder, patch))
    (rescued,) = tmp_path.glob("mopo-rescued-*")
    assert str(rescued) in str(caught.value)
    assert f"mopo train --resume {folder}" in str(caught.value)
    expected = tensors_of(whole.folder)
    assert tensors_of(rescued) == expected
    assert not (folder / "result.json").exists()
    resume(folder, progress=False)
    assert tensors_of(folder) == expected
