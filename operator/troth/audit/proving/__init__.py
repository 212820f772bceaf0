"""Proofs: which probes show that the declared edges, and only those, are open; and their results.

Pure: `troth prove` reads the cluster, runs the probes as pods and writes the proofs.
"""
