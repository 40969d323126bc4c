"""Channels that somebody else wrote, and wrote badly: mail goes out all the same."""

import asyncio
from typing import Any

import pytest

from heliograph.channels import Channel, Notice, OutcomeUnknown, TryLater
from heliograph.notices.model import Delivery, Policy
from heliograph_notifier import sender
from tests.parts.jobs import Stores
from tests.parts.notifier import desk, told, wish
from tests.parts.smtp import MailServer
from tests.parts.waiting import until


class Faulty(Channel):
    """Does one thing that no channel should."""

    name = "faulty"

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.tried = 0

    @property
    def is_open(self) -> bool:
        if self.fault == "is_open raises":
            raise RuntimeError("as asked")
        return True

    def after_unknown(self, delivery: Delivery, backend: str | None) -> Policy:
        if self.fault == "after_unknown raises":
            raise RuntimeError("as asked")
        return super().after_unknown(delivery, backend)

    async def send(self, notice: Notice, delivery: Delivery) -> str:
        self.tried += 1
        nothing: Any = None
        match self.fault:
            case "after_unknown raises" | "a reply is no text":
                raise OutcomeUnknown(ValueError("as asked"))  # type: ignore[arg-type]  # that is the fault
            case "waits for ever":
                raise TryLater("as asked", slow_channel=True, after_seconds=1e300)
            case "waits for no number":
                raise TryLater("as asked", after_seconds=float("nan"))
            case "cancels itself":
                raise asyncio.CancelledError
            case "returns nothing":
                return str(nothing) if nothing else nothing
        return "sent"


FAULTS = [
    "is_open raises", "after_unknown raises", "a reply is no text", "waits for ever", "waits for no number",
    "cancels itself", "returns nothing",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_channel_is_its_own_trouble(
    stores: Stores, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(sender, "PAUSE_SECONDS", 0.05)
    channel = Faulty(fault)
    async with desk(stores, mail_server, channels=[channel], workers=2) as notifier, notifier.sending():
        for _ in range(3):  # more than there are workers, so that one that goes is missed
            job = await stores.submit(notify=told(wish("somewhere", channel="faulty")))
            await notifier.plan(job)
        notifier.sender.wake()
        if fault not in {"is_open raises", "waits for ever"}:
            await until(lambda: channel.tried >= 3)
        mailed = await stores.submit(notify=told())
        await notifier.plan(mailed)
        notifier.sender.wake()
        await mail_server.wait_for_mails(1)
