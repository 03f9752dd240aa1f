"""The learned world as environments.

`penalized_model` is the batched core that decides what a step is. `rollouts` keeps count of many of them. `env` and
`vector_env` are Gymnasium's interfaces to it, and `make` builds all of these from names and paths.
"""
