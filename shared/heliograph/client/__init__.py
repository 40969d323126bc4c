"""The Python client and the command line."""

from heliograph.client.client import Client, ProblemError

__all__ = ["Client", "ProblemError"]
