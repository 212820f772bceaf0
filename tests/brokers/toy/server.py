"""In-memory broker: users with two passwords each, and permissions by topic and group."""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

ADMIN = "keeper"


class May(StrEnum):
    """Operation that a permission allows."""

    WRITE = "WRITE"
    READ = "READ"
    JOIN = "JOIN"
    """Consume in a group, which belongs to no topic."""


class Permission(NamedTuple):
    """Permission of a user; `name` is a topic or a group, and `prefix` widens it."""

    user: str
    may: May
    name: str
    prefix: bool = False


class Connection(NamedTuple):
    """Connection of a user who consumes, by the name that the user chose for it."""

    user: str
    name: str


@dataclass
class ToyServer:
    """One server; a user who logs in may do what the user's permissions allow."""

    admin_password: str
    passwords: dict[tuple[str, int], str] = field(default_factory=dict)
    permissions: set[Permission] = field(default_factory=set)
    connected: list[Connection] = field(default_factory=list)
    writes: int = 0
    """Number of writes that changed permissions."""

    def lets_in(self, user: str, password: str) -> bool:
        return any(held == password for (whose, _), held in self.passwords.items() if whose == user)

    def permits(self, user: str, may: May, name: str) -> bool:
        return any(
            each.name == name or (each.prefix and name.startswith(each.name))
            for each in self.permissions
            if (each.user, each.may) == (user, may)
        )

    def change(self, added: Collection[Permission], removed: Collection[Permission]) -> None:
        after = (self.permissions | set(added)) - set(removed)
        self.writes += after != self.permissions
        self.permissions = after


SERVERS: dict[str, ToyServer] = {}
"""Servers by address."""
