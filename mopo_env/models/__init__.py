"""Dynamics models: the interface, the ensemble of this project, and adapters for your own models.

Read `protocol`, then `ensemble` (its layers are in `layers`), then `fit` with `fit_config`, `losses` and `optimizer`.
`lipschitz` bounds the slope of the fitted networks, `card` judges a fit. `function_model` makes a model of a function.
"""
