"""Mail to a server that takes commands together: what becomes of a notice is the same as with one that does not."""

from datetime import timedelta

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from heliograph.notices.model import DeliveryStatus, Outcome
from tests.parts.jobs import Stores
from tests.parts.notifier import ADA, desk, told, until, wish
from tests.parts.scripted_smtp import TAKEN, scripted
from tests.parts.smtp import Behaviour, MailServer


class PipeliningServer(MailServer):
    """A mail server that says that it takes commands together."""

    async def handle_EHLO(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", responses[-1]]


@pytest.mark.parametrize(
    ("behaviour", "status", "reply"),
    [
        (Behaviour.REFUSE, DeliveryStatus.FAILED, "550 5.1.1 no such mailbox"),
        (Behaviour.REFUSE_CONTENT, DeliveryStatus.FAILED, "554 5.6.0 not this content"),
    ],
)
async def test_a_refusal_is_one_s_own_and_the_connection_serves_on(
    stores: Stores, behaviour: Behaviour, status: DeliveryStatus, reply: str
) -> None:
    async with PipeliningServer() as server, desk(stores, server, workers=1) as notifier, notifier.sending():
        server.behaviours["nobody@example.org"] = behaviour
        for recipient, expected in (("nobody@example.org", status), (ADA, DeliveryStatus.SENT)) * 2:
            job = await stores.submit(notify=told(wish(recipient)))
            await notifier.plan(job)
            (delivery,) = await notifier.wait_for(job, expected)
            if recipient != ADA:
                assert [attempt.reply for attempt in delivery.attempts] == [reply]
    assert server.recipients == [ADA, ADA]
    assert server.connections == 1


async def test_one_that_is_busy_is_left_in_peace_and_gets_it_then(stores: Stores) -> None:
    async with PipeliningServer() as server, desk(stores, server) as notifier, notifier.sending():
        server.behaviour = Behaviour.BUSY
        job = await stores.submit(notify=told())
        await notifier.plan(job)
        await server.wait_for_attempts(1)
        server.behaviour = Behaviour.OK
        (delivery,) = await notifier.wait_for(job, DeliveryStatus.SENT)
    assert delivery.attempts[0].reply == "421 4.3.2 too busy"
    assert server.recipients == [ADA]


async def test_a_connection_that_went_away_unseen_costs_no_attempt(stores: Stores) -> None:
    async with PipeliningServer() as server, desk(stores, server) as notifier, notifier.sending():
        for _ in range(2):
            job = await stores.submit(notify=told())
            await notifier.plan(job)
            (delivery,) = await notifier.wait_for(job, DeliveryStatus.SENT)
            assert len(delivery.attempts) == 1
            server.hang_up()


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ({"DATA": "354 go on\r\n250 noise"}, "the server spoke unasked"),
        ({"MAIL": "", "RCPT": "", "DATA": ""}, "nothing was sent before the deadline"),
    ],
)
async def test_what_was_never_handed_over_is_known_not_to_be_sent(
    stores: Stores, mail_server: MailServer, words: dict[str, str], reply: str
) -> None:
    deadline = timedelta(seconds=2)
    async with (
        scripted(words, greeting="220 good day") as script,
        desk(stores, mail_server, url=f"smtp://127.0.0.1:{script.port}", deadline=deadline) as notifier,
        notifier.sending(),
    ):
        job = await stores.submit(notify=told())
        await notifier.plan(job)

        async def was_tried() -> bool:
            return bool((await notifier.ledger.of_job(job.id))[0].attempts)

        await until(was_tried)
        script.answers = TAKEN
        (delivery,) = await notifier.wait_for(job, DeliveryStatus.SENT)
    assert (delivery.attempts[0].outcome, delivery.attempts[0].reply) == (Outcome.TRY_LATER, reply)
    assert len(script.mails) == 1
