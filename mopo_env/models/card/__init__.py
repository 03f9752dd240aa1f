"""The model report card: how wrong a fitted model is, and whether it knows.

`card` computes it, `scores` says what it holds, `problems` judges, and `text` shows it.
"""
