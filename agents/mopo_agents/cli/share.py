"""`mopo push`, `mopo pull` and `mopo export`: what is given to others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from mopo_agents._utils.outputs import check_output


def push_shared(source: Positional[Path], destination: Positional[str], /) -> Any:
    """Share a run, or a dataset and its ensemble, as one folder.

    A run brings its policy, its data and its ensemble. The folder gets a README.md made of the cards.

    Args:
        source: The folder of a run or a dataset, or a task's name.
        destination: A new or empty folder, or hf://OWNER/NAME on the Hugging Face hub.
    """
    from mopo_agents.sharing import push

    shared = push(source, destination)
    for reason in shared.left_out:
        print(f"left out: {reason}")
    print(f"{', '.join(shared.parts)}: now in {shared.place}. Fetch with: mopo pull {shared.place} FOLDER")
    return shared


def pull_shared(source: Positional[str], destination: Positional[Path], /) -> Any:
    """Fetch what was shared, and verify every file.

    Args:
        source: A folder, or hf://OWNER/NAME on the Hugging Face hub, also with @REVISION.
        destination: A new or empty folder.
    """
    from mopo_agents.sharing import pull

    shared = pull(source, destination)
    following = f"mopo train {destination}" if "ensemble" in shared.parts else f"mopo fit {destination}"
    if "policy" in shared.parts:
        following = f"mopo evaluate {destination}"
    print(f"{', '.join(shared.parts)}: verified, now in {destination}. Next: {following}")
    return shared


def export(
    folder: Positional[Path],
    /,
    *,
    out: Path,
    format: Literal["onnx", "torch"] = "onnx",
    checkpoint: str = "last",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a policy as one file that acts alone.

    Observations go in, actions come out, in raw units. The file needs nothing of this project.

    Args:
        folder: A training run, finished or not, or one of its checkpoints.
        out: The file, such as policy.onnx.
        format: onnx, for ONNX Runtime and others, or torch, a program for torch.export.load.
        checkpoint: As in `mopo evaluate`.
        overwrite: Replace the file if it exists.
    """
    check_output(out, "--out", overwrite=overwrite)
    from mopo_agents.export import export_policy
    from mopo_agents.runs.policy_files import find_policy

    found = find_policy(folder, checkpoint)
    export_policy(found, out, format=format)
    print(f"The policy in {found} is in {out}, {out.stat().st_size / 1e3:,.0f} kB.")
    return {"policy": found, "file": out}
