"""The command line `mopo`: `main` holds the commands, `data` and `fit` those of their names."""
