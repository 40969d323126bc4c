"""An example channel, as a third party would write one: notices over any of the services that Apprise knows."""

from heliograph_apprise.channel import AppriseChannel

__all__ = ["AppriseChannel"]
