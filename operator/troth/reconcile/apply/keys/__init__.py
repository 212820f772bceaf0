"""Private keys of the operator: in memory, and how they are made."""
