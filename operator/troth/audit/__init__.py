"""Finds anti-patterns in what a cluster, its brokers and its traffic show. Pure: it does no I/O."""
