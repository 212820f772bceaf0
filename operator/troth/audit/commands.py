"""Commands in the steps of fixes."""

import shlex


def command(*words: str) -> str:
    """Return a command for a POSIX shell between backquotes, with each word as one argument.

    Names of objects come from manifests, which may hold anything.
    """
    return f"`{shlex.join(words)}`"
