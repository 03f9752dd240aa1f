"""Collect the datasets of the paper's tasks in the real environments.

`config` has the options, `recipes` has `collect` and the recipe of each task. A recipe uses the `collector` to train a
`behaviour` policy, and then rolls the policy out (`rollouts`) or keeps its replay buffer (`replay_rows`). An
interrupted training resumes bit for bit from its `checkpoint`.
"""
