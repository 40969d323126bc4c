"""The Heliograph worker."""
