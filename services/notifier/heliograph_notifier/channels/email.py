"""E-mail: one recipient a message, and the server's answer in this project's words."""

import asyncio
from dataclasses import dataclass

from aiosmtplib import SMTPException, SMTPResponseException, SMTPSenderRefused, SMTPServerDisconnected
from typing_extensions import override

from heliograph.channels import (
    CancelledUnsentError,
    Channel,
    ChannelContext,
    Notice,
    OutcomeUnknown,
    Refused,
    SendError,
    TryLater,
)
from heliograph.errors import NotFoundError
from heliograph.jobs.model import Artifact
from heliograph.notices.model import Delivery, Policy
from heliograph.storage import Files
from heliograph_notifier.channels.connections import BusyError, Connections, NoConnectionError, Server
from heliograph_notifier.channels.message import AddressError, Composer
from heliograph_notifier.channels.session import Session

# Codes by which a server speaks of itself or of the connection rather than of the message: 421 closing the channel,
# 454 temporary authentication failure or too many logins (RFC 5321, RFC 4954).
_SLOW = frozenset({421, 454})


@dataclass(slots=True)
class _Mail:
    """A mail, and whether any of its text may have reached the server."""

    recipient: str
    is_handed_over: bool = False


class EmailChannel(Channel):
    """Sends mail over SMTP.

    A message whose fate is unknown is sent again under the same Message-ID, by which mail programs and people recognise
    a duplicate, or it is left as it is: its template says which.
    """

    name = "email"

    def __init__(self, connections: Connections, composer: Composer, pictures: Files) -> None:
        self._connections = connections
        self._composer = composer
        self._pictures = pictures

    @classmethod
    def of(cls, context: ChannelContext) -> "EmailChannel | None":
        """Open the channel; None without a mail server and a sender."""
        settings = context.settings
        if not (settings.smtp_url and settings.mail_from):
            return None
        composer = Composer(
            settings.mail_from, settings.contact_email, templates=settings.mail_templates, site=settings.site_name
        )  # fmt: skip
        connections = Connections(Server.of(settings.smtp_url), settings.smtp_connections, settings.smtp_ca_file)
        return cls(connections, composer, context.pictures)

    @override
    def after_unknown(self, delivery: Delivery, backend: str | None) -> Policy:
        """Do as the mail's template says."""
        return self._composer.after_unknown(delivery, backend)

    @override
    async def send(self, notice: Notice, delivery: Delivery) -> str:
        """Send one mail; the receipt is the server's answer to its data."""
        mail = _Mail(delivery.recipient)
        try:
            return await self._send(notice, delivery, mail)
        except asyncio.CancelledError as error:
            if mail.is_handed_over:
                raise
            raise CancelledUnsentError from error

    async def _send(self, notice: Notice, delivery: Delivery, mail: _Mail) -> str:
        picture = await self._read(notice.picture) if notice.picture else None
        try:
            message = self._composer.compose(notice, delivery, picture)
        except AddressError as error:
            raise Refused(str(error)) from error
        try:
            try:
                return await self._transact(mail, message, asked=False)
            except SMTPServerDisconnected:  # it had gone while it was idle: nothing was on its way yet
                return await self._transact(mail, message, asked=True)
        except SendError:
            raise
        except SMTPResponseException as error:
            raise _judged(error) from error
        except NoConnectionError as error:
            raise TryLater(str(error), slow_channel=True) from error
        except (SMTPException, OSError, BusyError) as error:
            raise TryLater(_words(error)) from error

    async def _transact(self, mail: _Mail, message: bytes, *, asked: bool) -> str:
        async with self._connections.lend(asked=asked) as session:
            return await _hand_over(session, self._composer.envelope_sender, mail, message)

    @override
    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def _read(self, picture: Artifact) -> bytes | None:
        try:
            return b"".join([chunk async for chunk in self._pictures.read(picture.file)])
        except NotFoundError:
            return None  # removed since; the mail says the rest


async def _hand_over(session: Session, sender: str, mail: _Mail, message: bytes) -> str:
    """Run one mail transaction; once the message is on its way, anything but an answer leaves its fate unknown."""
    if not (mail.recipient.isascii() or session.takes_utf8):
        raise Refused("the mail server takes no address with letters beyond ASCII")
    await session.begin(sender, mail.recipient)
    session.hand_over(message)
    mail.is_handed_over = True
    try:
        answer = await session.answer()
    except SMTPResponseException:
        raise
    except (SMTPException, OSError) as error:
        raise OutcomeUnknown(_words(error)) from error
    return f"{answer.code} {answer.message}"


def _judged(error: SMTPResponseException) -> SendError:
    # A refusal of our own address is for the operator to mend, and no message's fault.
    if error.code in _SLOW or isinstance(error, SMTPSenderRefused):
        return TryLater(_reply(error), slow_channel=True)
    if 500 <= error.code < 600:
        return Refused(_reply(error))
    return TryLater(_reply(error))


def _reply(error: SMTPResponseException) -> str:
    return f"{error.code} {error.message}"


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
