"""The Heliograph api."""
