"""One module for each signature scheme."""
