"""Rotation: a root is replaced while services call each other."""
