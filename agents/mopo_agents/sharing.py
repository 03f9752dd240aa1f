"""Share a dataset, its ensemble and a trained policy as one folder, here or on the Hugging Face hub.

What is shared holds safetensors, JSON and a README, nothing that could run. All of it is verified before it is sent
and when it arrives.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mopo_agents._utils.outputs import check_room
from mopo_env._utils.json_files import read_json
from mopo_env._utils.store import read_artifact, write_file
from mopo_env.datasets.folders import find_folder
from mopo_env.errors import ConfigError, StoreError, require_extra

_HUB = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?")
_ARTIFACTS = ("dataset", "ensemble", "termination", "policy")
_RECORDS = ("config.json", "result.json")
_PATTERNS = ("*.json", "*.safetensors", "README.md")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What was sent or has arrived.

    Attributes:
        place: Where it is.
        parts: What it holds, such as ``("dataset", "ensemble")``.
        left_out: Why something of a run is not part of it.
    """

    place: str
    parts: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def push(source: Path | str, destination: str) -> Shared:
    """Share a run with its data and ensemble, or a dataset with its ensemble.

    Args:
        source: The folder of a run or of a dataset, or a task's name.
        destination: A new or empty folder, or ``hf://owner/name``.

    Raises:
        ConfigError: If there is nothing to share, or the folder holds something.
        StoreError: If a file is missing or damaged, or cannot be written.
        MissingExtraError: If the hub's package is not installed.
    """
    folder = find_folder(source) or Path(source)
    with tempfile.TemporaryDirectory() as staged:
        left_out = _stage(folder, Path(staged))
        parts = _verified(Path(staged), source)
        write_file(Path(staged) / "README.md", _readme(Path(staged), parts).encode())
        if hub := _hub_id(destination):
            api = require_extra("huggingface_hub", "hub").HfApi()
            api.create_repo(repo_id=hub[0], exist_ok=True)
            api.upload_folder(
                repo_id=hub[0], revision=hub[1], folder_path=staged, commit_message=f"{', '.join(parts)} by mopo-env"
            )
        else:
            _copy(Path(staged), Path(destination))
    return Shared(place=destination, parts=parts, left_out=tuple(left_out))


def pull(source: str, destination: Path | str) -> Shared:
    """Fetch what `push` shared, and keep it only if every file has the digest of its manifest.

    Args:
        source: A folder, or ``hf://owner/name``, also ``hf://owner/name@revision``.
        destination: A new or empty folder.

    Raises:
        ConfigError: If there is nothing that was shared, or the folder holds something.
        StoreError: If a file is missing, damaged or altered, or cannot be written.
        MissingExtraError: If the hub's package is not installed.
    """
    _check_empty(Path(destination))
    with tempfile.TemporaryDirectory() as arrived:
        if hub := _hub_id(source):
            require_extra("huggingface_hub", "hub").snapshot_download(
                hub[0], revision=hub[1], local_dir=arrived, allow_patterns=list(_PATTERNS)
            )
        else:
            _copy(Path(source), Path(arrived))
        parts = _verified(Path(arrived), source)
        _copy(Path(arrived), Path(destination))
    return Shared(place=str(destination), parts=parts)


def _stage(folder: Path, staged: Path) -> list[str]:
    """Copy what belongs together. For a run, add its data and its ensemble if they are still those of the run."""
    for name in _ARTIFACTS:
        _copy_artifact(folder, name, staged)
    if not (folder / "config.json").is_file():
        return []
    for name in _RECORDS:
        if (folder / name).is_file():
            write_file(staged / name, (folder / name).read_bytes())
    record, left_out = read_json(folder / "config.json"), []
    data = find_folder(record["dataset"] or record["task"])
    for name, key in {"dataset": "dataset_fingerprint", "ensemble": "ensemble_digest"}.items():
        own = record.get("ensemble") if name == "ensemble" else None
        place = data if own is None else Path(own)
        if record.get(key) is None or (staged / f"{name}.json").exists():
            continue
        if place is None or _identity(place, name) != record[key]:
            left_out.append(f"the {name} of the run was not found, or is another one now")
        else:
            _copy_artifact(place, name, staged)
    return left_out


def _identity(folder: Path, name: str) -> str | None:
    from mopo_agents.runs.identity import module_digest
    from mopo_env.datasets.files import load_transitions
    from mopo_env.models.ensemble import load_ensemble

    if not (folder / f"{name}.json").is_file():
        return None
    return load_transitions(folder).fingerprint if name == "dataset" else module_digest(load_ensemble(folder))


def _copy_artifact(folder: Path, name: str, staged: Path) -> None:
    if (folder / f"{name}.json").is_file():
        read_artifact(folder, name)  # a damaged file is not sent
        for file in (f"{name}.json", read_json(folder / f"{name}.json")["tensors"]["file"]):
            write_file(staged / file, (folder / file).read_bytes())


def _verified(folder: Path, source: Path | str) -> tuple[str, ...]:
    """Return the artifacts in a folder. Each is read as a whole, so each digest is compared."""
    parts = tuple(name for name in _ARTIFACTS if (folder / f"{name}.json").is_file())
    if not parts:
        raise ConfigError(f"{source}: found no dataset, ensemble or policy to share, expected a run or a dataset.")
    for name in parts:
        read_artifact(folder, name)
    for name in _RECORDS:
        if (folder / name).is_file():
            read_json(folder / name)
    return parts


def _copy(source: Path, destination: Path) -> None:
    """Copy the files that can be shared, and nothing else: no links, no folders, no other kinds."""
    _check_empty(destination)
    if not source.is_dir():
        raise StoreError(f"{source}: no such folder.")
    files = sorted(
        {path for kind in _PATTERNS for path in source.glob(kind) if path.is_file()}
        - {path for path in source.iterdir() if path.is_symlink()}
    )
    check_room(destination, sum(path.stat().st_size for path in files))
    for path in files:
        write_file(destination / path.name, path.read_bytes())


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: found something there, expected a new or an empty folder.")


def _hub_id(place: str) -> tuple[str, str | None] | None:
    if not str(place).startswith("hf:"):
        return None
    found = _HUB.fullmatch(str(place))
    if found is None:
        raise ConfigError(f"{place}: expected hf://OWNER/NAME, or hf://OWNER/NAME@REVISION.")
    return found[1], found[2]


def _readme(folder: Path, parts: tuple[str, ...]) -> str:
    """Return a README made of the cards."""
    from mopo_env.datasets.card.card import dataset_card
    from mopo_env.datasets.card.text import card_text
    from mopo_env.datasets.files import load_transitions

    lines = ["---", "library_name: mopo-env", "tags: [offline-rl, mopo, reinforcement-learning]", "---", ""]
    lines += [f"# {', '.join(parts).capitalize()}", ""]
    lines += ["Made with mopo-env. Fetch and verify: `mopo pull SOURCE FOLDER`.", ""]
    if "dataset" in parts:
        transitions = load_transitions(folder)
        lines += ["## Dataset", "", "```text", card_text(dataset_card(transitions)), "```", ""]
        if "ensemble" in parts:
            from mopo_env.models.card.card import model_card
            from mopo_env.models.card.text import card_text as model_text
            from mopo_env.models.ensemble import load_ensemble

            card = model_card(load_ensemble(folder), transitions)
            lines += ["## Ensemble", "", "```text", model_text(card), "```", ""]
    if "policy" in parts:
        policy: dict[str, Any] = read_artifact(folder, "policy")[1]
        lines += ["## Policy", "", f"Trained on {policy.get('trained_on')}, epoch {policy.get('epoch')}."]
        if (folder / "result.json").is_file():
            lines += [_results(read_json(folder / "config.json"), read_json(folder / "result.json"))]
    return "\n".join(lines) + "\n"


def _results(record: dict[str, Any], result: dict[str, Any]) -> str:
    line = f"Agent {record['agent']}, method {record['method']}, seed {record['seed']}, {result['updates']} updates."
    if result["evaluations"]:
        last = result["evaluations"][-1]
        line += f" Return in {result['real_env']}: {last['return_mean']:.1f} ± {last['return_std']:.1f} (episodes)."
    return f"{line} Return of the dataset: mean {result['dataset_mean']:.1f}, best {result['dataset_max']:.1f}."
