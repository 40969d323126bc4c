"""The embedded mongod's replica set of one: made at its first start, mended when its port has changed.

Elsewhere only the storage package imports the driver. This is administration from before any service runs, by the
driver's blocking half; whoever uses another MongoDB never gets here, hence the imports inside the function.
"""

from typing import TYPE_CHECKING, Any

from heliograph_standalone.mongod_binary import MongodError

if TYPE_CHECKING:
    from pymongo import MongoClient

HOST = "127.0.0.1"
REPLICA_SET = "rs0"

NOT_YET_INITIALIZED = 94  # mongod's error codes
ALREADY_INITIALIZED = 23


def is_primary(port: int, pid: int) -> bool:
    """Say whether our process takes writes at that port, after doing what it lacks for that.

    False also where something else has the port: our process is then about to end.
    """
    from pymongo import MongoClient  # noqa: PLC0415 - see the module's docstring
    from pymongo.errors import PyMongoError  # noqa: PLC0415 - see the module's docstring

    with MongoClient[dict[str, Any]](HOST, port, directConnection=True, serverSelectionTimeoutMS=1000) as client:
        try:
            if client.admin.command("serverStatus")["pid"] != pid:
                return False
            _configure(client, f"{HOST}:{port}")
            return bool(client.admin.command("hello")["isWritablePrimary"])
        except PyMongoError:
            return False  # not a MongoDB, or ours while it changes its role and sheds connections


def _configure(client: "MongoClient[dict[str, Any]]", member: str) -> None:
    """Make the replica set if there is none; tell its one member its address if that is another."""
    from pymongo.errors import OperationFailure  # noqa: PLC0415 - see the module's docstring

    try:
        config = client.admin.command("replSetGetConfig")["config"]
        if config["members"][0]["host"] != member:
            config["members"][0]["host"] = member
            # By force: it is not primary, since it does not find itself in its configuration.
            client.admin.command("replSetReconfig", config, force=True)
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise MongodError(f"MongoDB cannot use its data: {error}") from error
        try:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": member}]})
        except OperationFailure as refusal:
            if refusal.code != ALREADY_INITIALIZED:  # it had only not read its configuration yet
                raise MongodError(f"MongoDB cannot make its replica set: {refusal}") from refusal
