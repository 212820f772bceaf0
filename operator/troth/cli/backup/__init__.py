"""`troth backup` and `troth restore`: declarations with their state, roots, keys and ledgers."""
