"""The Python client and the command line."""

from heliograph.client.client import Client, ProblemError
from heliograph.client.functions import FunctionError

__all__ = ["Client", "FunctionError", "ProblemError"]
