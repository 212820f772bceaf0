"""The demo's error."""

from sandbox.errors import SandboxError


class DemoError(SandboxError):
    """Something is not as declared, or takes too long; the message says what."""
