"""The command `troth`: thin; each module is one subcommand."""
