"""`mopo export`: a policy as one file that acts without this project."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from mopo_agents._utils.outputs import check_output

__all__ = ["export"]


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
