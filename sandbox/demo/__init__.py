"""The demo: a small shop on a real control plane, and trials that prove what it declares.

python -m sandbox.demo
"""
