"""Escaping of untrusted text for commands; `resources.quoting` has it for all layers."""

from troth.resources.quoting import quoted, without_tokens

__all__ = ["quoted", "without_tokens"]
