"""nio's store of keys, in memory: read from bytes when it is opened, written to bytes whenever it changed.

Nothing of it ever lies on a disk of the notifier's.
"""

from nio.store import SqliteMemoryStore
from peewee import SqliteDatabase

# A room's key is made anew every 100 messages and every week, and nio keeps all of them for ever. What is said to the
# account is read once, within seconds, and what it says itself never: the last ones do.
MOST_ROOM_KEYS = 500


class KeyStore(SqliteMemoryStore):  # type: ignore[misc]  # nio has no types
    """The keys of one device; ``content`` is what ``serialize`` returned, None for a device without any."""

    def __init__(self, user: str, device: str, content: bytes | None) -> None:
        self._content: bytes | None = content
        super().__init__(user, device)
        self._content = None

    @property
    def changes(self) -> int:
        """How many rows were written since it was opened."""
        changes: int = self.database.connection().total_changes
        return changes

    def serialize(self) -> bytes:
        """Return all of it."""
        content: bytes = self.database.connection().serialize()
        return content

    def prune(self) -> None:
        """Forget room keys that nobody needs: the oldest ones."""
        self.database.execute_sql(
            "DELETE FROM megolminboundsessions WHERE rowid NOT IN"
            " (SELECT rowid FROM megolminboundsessions ORDER BY rowid DESC LIMIT ?)",
            (MOST_ROOM_KEYS,),
        )

    def close(self) -> None:
        """Forget it."""
        self.database.close()

    def _create_database(self) -> SqliteDatabase:
        return _Restored(self._content)


class _Restored(SqliteDatabase):  # type: ignore[misc]  # peewee has no types
    def __init__(self, content: bytes | None) -> None:
        super().__init__(":memory:", pragmas={"foreign_keys": 1})
        self._content = content

    def connect(self, reuse_if_open: bool = False) -> bool:
        is_new: bool = super().connect(reuse_if_open)
        if is_new and self._content:
            self.connection().deserialize(self._content)
            self._content = None
        return is_new
