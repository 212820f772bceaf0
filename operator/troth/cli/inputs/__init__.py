"""Inputs of commands: manifests, clusters, and targets named on the command line."""
