"""Matrix as a channel: one message for each job in a room, edited while the job runs, the notices below it."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from heliograph.channels import Channel, ChannelContext, Notice
from heliograph.connections import prepare
from heliograph.jobs.relay import Relay
from heliograph.jobs.service import JobService
from heliograph.jobs.store import FollowerStore, JobStore, OutboxStore, TreeStore
from heliograph.notices.linked import LinkedUsers
from heliograph.notices.model import Delivery, Occasion, SubjectKind
from heliograph.storage import Database
from heliograph_notifier.channels.matrix.acting import Acting
from heliograph_notifier.channels.matrix.content import Text, in_thread, message, transaction
from heliograph_notifier.channels.matrix.conversation import Conversation
from heliograph_notifier.channels.matrix.layout import card_text, notice_text, reply_text
from heliograph_notifier.channels.matrix.live import Editor
from heliograph_notifier.channels.matrix.live_messages import LiveMessage, LiveMessages, ensure_live_indexes
from heliograph_notifier.channels.matrix.news import News
from heliograph_notifier.channels.matrix.pace import Pace
from heliograph_notifier.channels.matrix.standing import begun

if TYPE_CHECKING:
    from heliograph_notifier.channels.matrix.account import Account  # its import brings the Matrix library along

_PACE = Pace()
_THREADED = {SubjectKind.JOB, SubjectKind.GROUP}
_BEGINNINGS = {Occasion.SUBMITTED: "queued", Occasion.RUNNING: "running"}  # of what else is told first, no more comes


class MatrixChannel(Channel):
    """Sends to rooms with the installation's one account, in the process that has it now.

    Each notice goes out under a transaction id made from its key, so that the homeserver takes it once; and the first
    about a job in a room is guarded by its record besides.
    """

    name = "matrix"

    def __init__(
        self, account: "Account", database: Database, jobs: JobService, relay: Relay, pace: Pace = _PACE
    ) -> None:
        self._account = account
        self._database = database
        self._relay = relay
        self._lives = LiveMessages(database)
        self._editor = Editor(account, self._lives, News(database, self._lives), pace)
        self._conversation = Conversation(account, LinkedUsers(database), Acting(database, jobs), pace.answer_seconds)
        account.on_message = self._conversation.hear

    @classmethod
    def of(cls, context: ChannelContext) -> "MatrixChannel | None":
        """Open the channel; None without a homeserver, an account, and its password or token."""
        settings, database = context.settings, context.database
        proof = settings.matrix_password or settings.matrix_access_token
        if not (settings.matrix_homeserver and settings.matrix_user and proof):
            return None
        from heliograph_notifier.channels.matrix.account import Account  # noqa: PLC0415 - brings 8 MB of library along
        from heliograph_notifier.channels.matrix.keeper import Keeper  # noqa: PLC0415 - as above

        account = Account(
            settings.matrix_homeserver, settings.matrix_user,
            Keeper(
                database, settings.matrix_user, context.holder, settings.seal_keys,
                lease=timedelta(seconds=settings.matrix_lease_seconds),
            ),
            password=settings.matrix_password, access_token=settings.matrix_access_token,
            allowed=settings.matrix_allowed,
        )  # fmt: skip
        followers = FollowerStore(database)
        relay = Relay(OutboxStore(database, public_url=settings.public_url), followers, context.bus)
        jobs = JobService(JobStore(database), followers, TreeStore(database), relay, context.bus)
        return cls(account, database, jobs, relay)

    @property
    @override
    def account(self) -> str:
        """The bot's user."""
        return self._account.user

    @property
    @override
    def is_open(self) -> bool:
        """Whether this process has the account now."""
        return self._account.is_owner

    @override
    async def run(self) -> None:
        """Have the account, keep live messages up to date and answer commands, until cancelled."""
        await prepare(self._database, ensure_live_indexes)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._account.run(), name="matrix-account")
            group.create_task(self._editor.run(), name="matrix-editor")
            group.create_task(self._conversation.run(), name="matrix-conversation")
            group.create_task(self._relay.run(), name="matrix-relay")  # tells what a command cancelled

    @override
    async def is_private(self, recipient: str) -> bool:
        """Say whether a room is encrypted."""
        return await self._account.is_private(recipient)

    @override
    async def send(self, notice: Notice, delivery: Delivery) -> str:
        """Send one notice to a room; the receipt is the event's id."""
        with self._editor.delivering(delivery.recipient):
            if notice.subject.kind not in _THREADED:
                return await self._say(notice_text(notice), delivery)
            live = await self._lives.find(notice.subject, delivery.series, delivery.recipient)
            if live is None:
                return await self._begin(notice, delivery)
            if live.delivery == delivery.key:
                return live.event  # it went out, and this process or another died before that was recorded
            return await self._say(reply_text(notice), delivery, below=live.event)

    async def _begin(self, notice: Notice, delivery: Delivery) -> str:
        """Send what is the first about its subject in this room: the message that the rest refers to."""
        words = _BEGINNINGS.get(delivery.occasion)
        # What it shows is a function of the notice alone: sent again after a crash, the event that the homeserver has
        # already is the one that is recorded.
        head = begun(notice.product, words) if words else Text("", "")
        rest = card_text(notice) if words else notice_text(notice)
        event = await self._say(Text.blocks([head, rest]), delivery)
        live = LiveMessage(
            notice.subject, delivery.series, delivery.recipient, event, delivery.key, notice.product,
            rest if words else Text("", ""), head.plain,
            with_details=not notice.is_brief, over=words is None,
        )  # fmt: skip
        await self._lives.record(live)
        if not live.over:
            self._editor.watch(live.watch)
        return event

    async def _say(self, text: Text, delivery: Delivery, *, below: str | None = None) -> str:
        content = in_thread(message(text), below) if below else message(text)
        return await self._account.send(delivery.recipient, content, transaction(delivery.key))
