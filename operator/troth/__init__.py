"""Troth: what is declared works, what is not declared fails."""
