"""What the services of Heliograph share: jobs, events, bus, identity, storage and the interface for backends."""

__version__ = "0.1.0"
