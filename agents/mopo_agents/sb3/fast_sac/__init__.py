"""SAC's update with its gradients written out: what Stable-Baselines3 computes, in two thirds of the time.

`update` is the algorithm. `dense_networks` evaluates and differentiates, `squashed_gaussian` draws actions,
`flat_adam` steps.
"""
