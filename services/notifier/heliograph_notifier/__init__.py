"""The Heliograph notifier."""
