"""What was given up and what is stuck: shown to people, and replayed on their word."""
