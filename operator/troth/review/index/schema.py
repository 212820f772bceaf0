"""Tables of the index, and how its file is opened.

The file is a cache. One that cannot be read, or that another version wrote, is deleted.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

VERSION: Final = 2
WRITER_KIB: Final = 16 * 1024
READER_KIB: Final = 4 * 1024
"""Memory for pages of the file, for the connection that writes and for the one that reads."""

_JOURNAL_BYTES = 64 * 1024 * 1024
_CHECKPOINT_PAGES = 8000
_PATIENCE_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE policies (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL, name TEXT NOT NULL, incarnation TEXT,
  UNIQUE (namespace, name)
);
CREATE TABLE positions (
  policy INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY (policy, partition)
) WITHOUT ROWID;
CREATE TABLE letters (
  policy INTEGER NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, id TEXT NOT NULL,
  time INTEGER NOT NULL, consumer TEXT NOT NULL, "group" TEXT, reason TEXT NOT NULL,
  origin TEXT NOT NULL, attempts INTEGER NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
  event_id TEXT, producer TEXT, tenant TEXT, redrives INTEGER NOT NULL,
  state TEXT NOT NULL, review_namespace TEXT, review_name TEXT, review_uid TEXT,
  settled INTEGER,
  PRIMARY KEY (policy, partition, offset)
) WITHOUT ROWID;
CREATE UNIQUE INDEX letters_by_id ON letters (policy, id);
CREATE INDEX letters_by_state ON letters (policy, state, partition, offset);
CREATE INDEX letters_by_reason ON letters (policy, state, reason, partition, offset);
CREATE INDEX letters_by_tenant ON letters (policy, state, tenant, partition, offset);
CREATE INDEX letters_by_time ON letters (policy, state, time);
CREATE INDEX letters_by_end ON letters (policy, settled) WHERE settled IS NOT NULL;
CREATE TABLE unreadable (
  policy INTEGER NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
  PRIMARY KEY (policy, partition, offset)
) WITHOUT ROWID;
CREATE TABLE decisions (
  policy INTEGER NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL,
  review_namespace TEXT NOT NULL, review_name TEXT NOT NULL, review_uid TEXT,
  at INTEGER NOT NULL,
  PRIMARY KEY (policy, id)
) WITHOUT ROWID;
CREATE TABLE holds (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL, digest TEXT,
  UNIQUE (namespace, name)
);
CREATE TABLE held (
  hold INTEGER NOT NULL, place INTEGER NOT NULL, letter TEXT NOT NULL, expected TEXT NOT NULL,
  PRIMARY KEY (hold, place)
) WITHOUT ROWID;
CREATE TABLE tallies (
  policy INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (policy, state, reason)
) WITHOUT ROWID;
CREATE TRIGGER letter_added AFTER INSERT ON letters BEGIN
  INSERT INTO tallies VALUES (new.policy, new.state, new.reason, 1)
  ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER letter_removed AFTER DELETE ON letters BEGIN
  UPDATE tallies SET count = count - 1
  WHERE policy = old.policy AND state = old.state AND reason = old.reason;
END;
CREATE TRIGGER letter_changed AFTER UPDATE OF state ON letters WHEN old.state <> new.state BEGIN
  UPDATE tallies SET count = count - 1
  WHERE policy = old.policy AND state = old.state AND reason = old.reason;
  INSERT INTO tallies VALUES (new.policy, new.state, new.reason, 1)
  ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER unreadable_added AFTER INSERT ON unreadable BEGIN
  INSERT INTO tallies VALUES (new.policy, 'Unreadable', '', 1)
  ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER unreadable_removed AFTER DELETE ON unreadable BEGIN
  UPDATE tallies SET count = count - 1
  WHERE policy = old.policy AND state = 'Unreadable' AND reason = '';
END;
"""


def open_index(path: Path) -> sqlite3.Connection:
    """Return the connection that writes; create the file, or replace an unusable one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _opened(path)
    except sqlite3.DatabaseError:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).unlink()
        return _opened(path)


def open_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that reads and never waits for the one that writes."""
    connection = _connect(path, READER_KIB)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _opened(path: Path) -> sqlite3.Connection:
    connection = _connect(path, WRITER_KIB)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A loss of power may lose the last letters, which are read again.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
        # letters have random IDs, so the same pages change in many transactions
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
            )
        else:
            _check(connection, version)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, version: int) -> None:
    if version != VERSION:
        raise sqlite3.DatabaseError("another version of Troth wrote the index")
    connection.execute("SELECT count FROM tallies LIMIT 1").fetchone()


def _connect(path: Path, kib: int) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA cache_size = -{kib}")
    return connection
