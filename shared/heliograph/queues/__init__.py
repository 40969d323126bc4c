"""Pull queues: declared by an administrator, emptied by agents over HTTP."""
