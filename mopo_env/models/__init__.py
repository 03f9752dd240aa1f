"""Learned dynamics: what a model must offer, the ensemble that is fitted here, and models of one's own.

Read `protocol`, then `ensemble` (its layers are in `layers`), then `fit` with `fit_config` and `optimizer`. `lipschitz`
bounds a fit's networks. `function_model` makes a model of any function.
"""
