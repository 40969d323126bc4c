"""The backends that an operator declares in a file, without writing Python."""
