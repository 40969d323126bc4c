"""Channels: the ways by which a notice reaches people. What speaks SMTP stands here and nowhere else."""
