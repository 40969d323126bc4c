"""The secrets of a standalone: made once, kept in its folder, readable by its owner alone."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Keys:
    """What the services refuse to start without."""

    signing_key: str
    identity_key: str

    @classmethod
    def keep_in(cls, folder: Path) -> "Keys":
        """Return the keys kept in ``folder``, made now where there are none."""
        path = folder / "keys.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            keys = cls(secrets.token_hex(32), secrets.token_hex(32))
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(keys), file)
            return keys
