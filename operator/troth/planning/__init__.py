"""From a resource and the world to a plan: what must exist, what must go, what the status says.

Pure: no I/O, no clock, no randomness. One module a kind, and the compilers they share.
"""
