"""SAC's update with its gradients written out: what Stable-Baselines3 computes, in two thirds of the time.

`gate` says which agents it is for, `update` is the algorithm. `dense_networks` evaluates and differentiates,
`flat_adam` steps; actions are drawn by `mopo_agents.sb3.squashed_gaussian`.
"""
