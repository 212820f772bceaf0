"""The `troth` command: one module or folder for each subcommand."""
