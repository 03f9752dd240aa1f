"""SAC's update with explicit gradients: the results of Stable-Baselines3's update in two thirds of its time.

`update` has the algorithm and decides for which agents it runs. `dense_networks` evaluates and differentiates the
networks, and `flat_adam` updates their weights; `mopo_agents.sb3.squashed_gaussian` draws the actions.
"""
