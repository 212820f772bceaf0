"""Planning: from a resource and the world to a plan of writes, removals and status.

Planning is pure: no I/O, no clock, no randomness. Each kind has its own module; compilers are
shared.
"""
