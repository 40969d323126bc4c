"""The secrets of a standalone: made once, kept in its folder, readable by its owner alone."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Keys:
    """What the services refuse to start without, and what they do less without."""

    signing_key: str
    identity_key: str
    link_key: str
    seal_key: str

    @classmethod
    def keep_in(cls, folder: Path) -> "Keys":
        """Return the keys kept in ``folder``; those that are not there, all of them at first, are made now."""
        path = folder / "keys.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        made = {field.name: secrets.token_hex(32) for field in fields(cls) if field.name not in kept}
        keys = cls(**kept, **made)
        if made:
            _write(path, json.dumps(asdict(keys)))
        return keys


def _write(path: Path, text: str) -> None:
    """Put a file in place at once: half of it would be a loss of all keys."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
