"""Figures of data and models. Each function returns a matplotlib `Figure`; nothing touches pyplot or a screen.

`data` shows what a dataset covers, `model` how far a model can be trusted. `mopo_agents.figures` shows runs. Without
matplotlib, all of them raise a `MissingExtraError`.
"""
