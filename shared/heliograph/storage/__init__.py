"""MongoDB, behind a few names. The driver is imported in this package and nowhere else.

The driver is motor, as the project states. It is in its last, fixes-only phase, and PyMongo's own asynchronous client
is its successor: the rest of the code uses only what both have.
"""

from heliograph.storage.batch import Batcher
from heliograph.storage.database import Collection, Database, Document, Index
from heliograph.storage.errors import DuplicateError, StoreUnavailableError
from heliograph.storage.files import Files, StoredFile
from heliograph.storage.writes import Encoded, Update, encoded, encoded_update, insert_each, update_each

__all__ = [
    "Batcher", "Collection", "Database", "Document", "DuplicateError", "Encoded", "Files", "Index",
    "StoreUnavailableError", "StoredFile", "Update", "encoded", "encoded_update", "insert_each", "update_each",
]  # fmt: skip
