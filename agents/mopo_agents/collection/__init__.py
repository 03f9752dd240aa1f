"""Collect datasets in the real environments, by the recipes of the paper's tasks.

`config` says what to collect, and `recipes` has `collect` and the recipe of each task. A recipe asks the `collector` to
train a `behaviour` policy, which goes on bit for bit after it was killed (`checkpoint`), and then rolls it out
(`rollouts`) or takes its replay buffer as it is (`replay_rows`).
"""
