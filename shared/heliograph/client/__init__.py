"""The Python client and the command line."""

from heliograph.client.agent import Agent
from heliograph.client.client import Client, NotSecretError, ProblemError
from heliograph.client.functions import FunctionError
from heliograph.client.held import HeldJob

__all__ = ["Agent", "Client", "FunctionError", "HeldJob", "NotSecretError", "ProblemError"]
