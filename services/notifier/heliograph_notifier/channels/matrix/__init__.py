"""Matrix: one account for the installation, encrypted rooms included. nio is imported in here alone."""
