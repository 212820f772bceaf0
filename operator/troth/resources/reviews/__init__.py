"""Reviews of dead letters."""
