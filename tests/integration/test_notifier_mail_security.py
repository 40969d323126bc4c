"""Mail over TLS, with certificates of one's own and logins: what is taken, and what is refused and how it is said."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from heliograph.jobs.model import Job
from heliograph.notices.model import Delivery, DeliveryStatus, Outcome
from tests.parts.certificates import Authority
from tests.parts.jobs import Stores
from tests.parts.notifier import ADA, Desk, desk, told, until, wish
from tests.parts.smtp import Behaviour, MailServer

LOGIN = ("heliograph", "a-secret")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def sending(stores: Stores, server: MailServer, **fields: Any) -> AsyncIterator[tuple[Desk, Job]]:
    """A notifier at work, and a job whose submission it is to tell."""
    async with server, desk(stores, server, **fields) as notifier:
        job = await stores.submit(notify=told())
        await notifier.plan(job)
        async with notifier.sending():
            yield notifier, job


async def first_reply(notifier: Desk, job: Job) -> Delivery:
    """Return the delivery once it was tried and has to wait."""

    async def was_tried() -> bool:
        return bool((await notifier.ledger.of_job(job.id))[0].attempts)

    await until(was_tried)
    (delivery,) = await notifier.ledger.of_job(job.id)
    assert delivery.attempts[0].outcome is Outcome.TRY_LATER
    return delivery


@pytest.mark.parametrize("is_tls", [True, False], ids=["smtps", "starttls"])
@pytest.mark.parametrize("login", [None, LOGIN], ids=["open", "login"])
async def test_mail_goes_out_over_tls_with_an_authority_of_ones_own(
    stores: Stores, authority: Authority, is_tls: bool, login: tuple[str, str] | None
) -> None:
    server = MailServer(authority.certify(), is_tls=is_tls, login=login)
    async with sending(stores, server, ca_file=authority.file) as (notifier, job):
        await notifier.wait_for(job, DeliveryStatus.SENT)
    assert server.logins == (1 if login else 0)
    assert len(server.mails) == 1


async def test_a_server_that_nobody_vouches_for_gets_nothing(stores: Stores, authority: Authority) -> None:
    server = MailServer(authority.certify(), login=LOGIN)
    async with sending(stores, server) as (notifier, job):
        delivery = await first_reply(notifier, job)
    words = "the mail server's certificate is not trusted: unable to get local issuer certificate"
    assert delivery.attempts[0].reply == words
    assert (server.logins, server.attempts) == (0, 0)


async def test_a_certificate_of_another_host_is_refused(stores: Stores, authority: Authority) -> None:
    server = MailServer(authority.certify("127.0.0.9"), login=LOGIN)
    async with sending(stores, server, ca_file=authority.file) as (notifier, job):
        delivery = await first_reply(notifier, job)
    reply = delivery.attempts[0].reply
    assert reply is not None
    assert reply.startswith("the mail server's certificate is not trusted: IP address mismatch")
    assert server.logins == 0


async def test_a_refused_login_is_said_and_the_channel_rests(stores: Stores, authority: Authority) -> None:
    server = MailServer(authority.certify(), login=LOGIN)
    url = server.url.replace(LOGIN[1], "another")
    async with sending(stores, server, ca_file=authority.file, url=url) as (notifier, job):
        delivery = await first_reply(notifier, job)
    reply = delivery.attempts[0].reply
    assert reply is not None
    assert reply.startswith("the mail server refused the login: 535 ")
    assert "another" not in reply
    assert server.attempts == 0


async def test_a_connection_that_went_away_unseen_costs_no_attempt(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await stores.submit(notify=told())
        await notifier.plan(job)
        await notifier.wait_for(job, DeliveryStatus.SENT)
        mail_server.hang_up()
        again = await stores.submit(notify=told())
        await notifier.plan(again)
        (delivery,) = await notifier.wait_for(again, DeliveryStatus.SENT)
    assert [attempt.outcome for attempt in delivery.attempts] == [Outcome.SENT]


async def test_a_refused_message_leaves_its_connection_in_use(stores: Stores, mail_server: MailServer) -> None:
    mail_server.behaviours["nobody@example.org"] = Behaviour.REFUSE
    async with desk(stores, mail_server, workers=1) as notifier, notifier.sending():
        for recipient, status in (("nobody@example.org", DeliveryStatus.FAILED), (ADA, DeliveryStatus.SENT)) * 3:
            job = await stores.submit(notify=told(wish(recipient)))
            await notifier.plan(job)
            await notifier.wait_for(job, status)
    assert mail_server.connections == 1
    assert len(mail_server.mails) == 3
