"""Port numbers in documents."""

_HIGHEST = 65535


def port_number(value: object) -> int:
    """Return a port number from 1 to 65535; raises `ValueError` for any other value."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _HIGHEST:
        raise ValueError("write a port from 1 to 65535")
    return value
