"""Rules about the identities of workloads."""
