"""Errors of the sandbox, with messages that tell the user what to do."""


class SandboxError(Exception):
    """The sandbox cannot do what was asked; the message gives the reason."""


class BuildError(SandboxError):
    """A tool could not be built or fetched."""

    def __init__(self, tool: str, output: str) -> None:
        super().__init__(f"{tool} could not be built:\n{output or '(it printed nothing)'}")
        self.tool = tool
        self.output = output


class ComponentError(SandboxError):
    """A component of the control plane ended, or did not become ready."""

    def __init__(self, component: str, problem: str, log: str) -> None:
        super().__init__(f"{component} {problem}; the end of its log:\n{log or '(empty)'}")
        self.component = component
        self.log = log


class CommandError(SandboxError):
    """A command against the cluster failed."""

    def __init__(self, command: str, returncode: int, stderr: str) -> None:
        super().__init__(f"`{command}` ended with {returncode}:\n{stderr.strip()}")
        self.returncode = returncode
        self.stderr = stderr
