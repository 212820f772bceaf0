"""The demo: a small shop on a real control plane, and proof that what it declares is what holds.

python -m sandbox.demo
"""
