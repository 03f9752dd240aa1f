"""Fuzzing of the loaders: targets, mutations, and a program that runs them for hours."""
