"""Exit codes, which mean the same for every command. `docs/reference/cli.md` explains them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of a command."""

    CLEAN = 0
    """The command did what was asked and found nothing to report."""
    FINDINGS = 1
    """The command did what was asked, and the answer needs attention: a finding of `check`, a
    change of `plan`, a resource that is not ready, a rejected token or delivery."""
    UNUSABLE_INPUT = 2
    """The command could not do what was asked: an option, a file, a kubeconfig, the API server's
    answer or an installed package does not allow it."""
    INTERNAL_ERROR = 3
    """The command failed because of a bug in Troth, or a daemon could not continue."""
    INTERRUPTED = 130
    """The user interrupted the command, as with Ctrl-C (128 + SIGINT)."""
