"""Observed state in memory: declared resources, and public facts of owned objects."""
