"""What a call of the distance to the data costs: `python benchmarks/nearest_neighbour.py`.

The states are 20,000 of the bundled data of halfcheetah-mixed, with random actions.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from common import header, median_and_spread, seconds, table

from mopo_env import load_dataset
from mopo_env.penalties.nearest import NearestNeighbourPenalty

NUM_ASKED = 20_000


def main() -> None:
    """Print one table."""
    data, generator = load_dataset("halfcheetah-mixed"), torch.Generator().manual_seed(0)
    rows = torch.randint(len(data), (NUM_ASKED,), generator=generator)
    actions = 2.0 * torch.rand(NUM_ASKED, data.action_dim, generator=generator) - 1.0
    asked = SimpleNamespace(observations=torch.tensor(data.observations)[rows], actions=actions)
    print(header(f"{NUM_ASKED:,} distances to the data"))
    cells = []
    for max_rows in (None, 20_000, 5_000):
        penalty = NearestNeighbourPenalty(data, max_rows=max_rows)
        middle, _ = median_and_spread(seconds(lambda penalty=penalty: penalty(asked), repeats=3))
        cells.append([f"{max_rows or len(data):,}", f"{middle:.2f}", f"{float(penalty(asked).mean()):.2f}"])
    print(table(["rows kept", "seconds", "mean distance"], cells))


if __name__ == "__main__":
    main()
