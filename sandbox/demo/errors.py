"""What the demo says when something is not as it should be."""

from sandbox.errors import SandboxError


class DemoError(SandboxError):
    """Something is not as declared, or did not happen in time; the message says what."""
