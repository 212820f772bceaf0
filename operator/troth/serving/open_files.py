"""The limit of open files."""

import resource


def raise_open_files() -> int:
    """Raise the limit of open files to the hard limit, and return it.

    Every watch holds a connection. The soft limit is 1,024 in many places, because programs that
    use `select` cannot have more; asyncio uses `epoll`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # such as macOS, whose hard limit may be infinite
        return soft
    return hard
