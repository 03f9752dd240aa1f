"""The command line `mopo`: `main` holds the table of commands, the other modules a command or a family each."""
