"""The learned model as environments.

Read `penalized_model` first, the batched core that computes a step. `rollouts` counts the steps of many rollouts. `env`
and `vector_env` are Gymnasium's interfaces to it, and `make` builds all of these from names and paths.
"""
