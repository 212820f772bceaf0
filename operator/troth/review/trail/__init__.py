"""The audit log of reviews: a chain of signed entries, one for each decision."""
