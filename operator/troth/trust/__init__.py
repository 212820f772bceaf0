"""The graph of declared relationships: who governs a namespace, and which edges are open.

Knows no Kubernetes client and does no I/O; everything here follows from the resources alone.
"""
