"""Pods, and the workloads that run them."""
