"""What the tests of whole services share: the stores on a database of the test's own, and a mail server."""

from collections.abc import AsyncIterator

import pytest

from tests.parts.jobs import Stores, open_stores
from tests.parts.smtp import MailServer


@pytest.fixture
async def stores(mongodb_url: str, database_name: str) -> AsyncIterator[Stores]:
    """The stores of one process on a fresh database."""
    async with open_stores(mongodb_url, database_name) as opened:
        yield opened


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    """A mail server of this test, up and willing."""
    async with MailServer() as server:
        yield server
