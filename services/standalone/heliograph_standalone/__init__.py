"""The Heliograph standalone."""
