"""Campaigns: the work of one owner in one group, of which people are told as a whole."""
