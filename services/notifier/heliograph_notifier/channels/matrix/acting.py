"""What commands do, each for a person who is known: their own jobs, their own silence, their own room."""

from dataclasses import dataclass, replace

from heliograph.errors import ConflictError, NotFoundError
from heliograph.identity.identity import Identity, Scope
from heliograph.identity.roles import Role
from heliograph.ids import short_id
from heliograph.jobs.model import Job
from heliograph.jobs.service import JobService
from heliograph.jobs.states import ACTIVE
from heliograph.jobs.store import Listing
from heliograph.jobs.store.listing import Criteria
from heliograph.notices.linked import LinkedUsers
from heliograph.notices.model import Wish
from heliograph.notices.mutes import MOST_MUTES, Mute, MuteScope, MuteStore
from heliograph.notices.preferences import Preferences, PreferenceStore
from heliograph.storage import Database
from heliograph_notifier.channels.matrix import commands
from heliograph_notifier.channels.matrix.content import Text, transaction
from heliograph_notifier.channels.matrix.standing import Reading, standing
from heliograph_notifier.readable import moment, one_line

CHANNEL = "matrix"
MADE_BY = "a room"
_MOST_ACTIVE, _MOST_LAST = 10, 5
_WHOLE_ID = 26


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks, and where; ``event`` is what they said.

    Where what is answered is not encrypted (``is_private``), nothing is answered that a backend said.
    """

    person: str
    room: str
    event: str
    is_private: bool

    @property
    def identity(self) -> Identity:
        """Who they are to the rest: a user, whatever else their tokens may say."""
        return Identity(self.person, frozenset({Role.USER.value}))


class Acting:
    """Does what people ask for, and returns what to answer. Each may be asked again and does no more than once."""

    def __init__(self, database: Database, jobs: JobService) -> None:
        self._database = database
        self._jobs = jobs
        self._listing = Listing(database)
        self._mutes = MuteStore(database)
        self._preferences = PreferenceStore(database)
        self._linked = LinkedUsers(database)

    async def act(self, command: commands.Command, speaker: Speaker) -> Text:
        """Do as a command says, and return the answer."""
        try:
            match command:
                case commands.Status(None):
                    said = await self._list(speaker)
                case commands.Status(job) if job is not None:
                    said = _detailed(await self._find(job, speaker), speaker)
                case commands.Cancel(job):
                    said = await self._cancel(await self._find(job, speaker), speaker)
                case commands.Mute():
                    said = await self._mute(command, speaker)
                case commands.Unmute(job):
                    said = await self._unmute(job, speaker)
                case commands.Here():
                    said = await self._here(speaker)
                case _:
                    said = helping()
        except (NotFoundError, ConflictError) as refused:
            return Text.lines([Text.of(refused.message)])
        return said

    async def _find(self, job: str, speaker: Speaker) -> Job:
        """Return one of the speaker's own jobs by its id or its end; that of somebody else is not found."""
        found = [job] if len(job) == _WHOLE_ID else await self._listing.ending_in(job, Scope(speaker.person))
        if len(found) > 1:
            raise ConflictError(f"Several jobs of yours end in {job}: say the whole id.")
        try:
            return await self._jobs.get(found[0] if found else job, speaker.identity)
        except NotFoundError as error:
            raise NotFoundError(f"You have no job {job}.") from error

    async def _list(self, speaker: Speaker) -> Text:
        active = await self._listing.page(Criteria(owner=speaker.person, states=ACTIVE), limit=_MOST_ACTIVE)
        last = await self._listing.page(Criteria(owner=speaker.person), limit=_MOST_LAST)
        jobs = {job.id: job for job in (*active.jobs, *last.jobs)}
        if not jobs:
            return Text.lines([Text.of("You have no jobs.")])
        lines = [_line(job) for job in jobs.values()]
        if active.next:
            lines.append(Text.of("… and more that are not over."))
        return Text.blocks([Text.lines([Text.bold("Your jobs")]), Text.lines(lines)])

    async def _cancel(self, job: Job, speaker: Speaker) -> Text:
        try:
            cancelled = await self._jobs.cancel(job.id, speaker.identity)
        except ConflictError as error:
            raise ConflictError(f"{short_id(job.id)} is {job.state} already.") from error
        words = "is cancelled" if cancelled.state not in ACTIVE else "is told to stop"
        return Text.lines([Text.of(f"{short_id(job.id)} ({_product(job)}) {words}.")])

    async def _mute(self, command: commands.Mute, speaker: Speaker) -> Text:
        job = await self._find(command.job, speaker) if command.job else None
        now = await self._database.now()
        until = now + command.length if command.length is not None else None
        scope, of = (MuteScope.JOB, job.id) if job else (MuteScope.ALL, None)
        # The same message heard again makes no second one, nor a longer one.
        identifier = transaction("mute", speaker.event)[:_WHOLE_ID].upper()
        made = {mute.id for mute in await self._mutes.of_person(speaker.person)}
        if identifier not in made and len(made) >= MOST_MUTES:
            raise ConflictError(f"You have {MOST_MUTES} mutes already: unmute ends them all.")
        await self._mutes.add(Mute(identifier, scope, MADE_BY, now, of=of, person=speaker.person, until=until))
        what = f"of {short_id(job.id)} " if job else ""
        when = f"until {moment(until)}" if until else "from now on"
        return Text.lines([Text.of(f"You are told nothing {what}{when}, here and elsewhere. unmute ends that.")])

    async def _unmute(self, job: str | None, speaker: Speaker) -> Text:
        identifier = (await self._find(job, speaker)).id if job else None
        ended = 0
        for mute in await self._mutes.of_person(speaker.person):
            if identifier is None or mute.of == identifier:
                ended += await self._mutes.remove(mute.id, person=speaker.person)
        return Text.lines([Text.of("You are told again." if ended else "Nothing was muted.")])

    async def _here(self, speaker: Speaker) -> Text:
        await self._linked.prove_room(speaker.person, speaker.room)

        def moved(preferences: Preferences) -> Preferences:
            wish = replace(preferences.wishes.get(CHANNEL, Wish(CHANNEL)), recipient=speaker.room)
            return replace(preferences, wishes={**preferences.wishes, CHANNEL: wish})

        await self._preferences.change(speaker.person, moved)
        return Text.lines([Text.of("From now on you are told of your jobs in this room.")])


def helping() -> Text:
    """Return what can be said."""
    said = (
        ("status", "your jobs; status 3F2K9ABC for one of them"),
        ("cancel 3F2K9ABC", "stop a job"),
        ("mute 2h", "silence for a while; mute 3F2K9ABC of one job, mute all 1d, unmute"),
        ("here", "be told in this room from now on"),
        ("link ABCDE-FGHJK", "link yourself with the code that you were given"),
    )
    lines = [_joined(Text.code(words), f": {meaning}") for words, meaning in said]
    where = Text.of("In a room with others, begin with !heliograph or !h.")
    return Text.blocks([Text.lines([Text.bold("What you can say")]), Text.lines([*lines, where])])


def linking(user: str) -> Text:
    """Return how somebody whom nobody linked becomes known."""
    command = f"heliograph notify link {user}"
    return Text.blocks([
        Text.lines([Text.of("I do not know who you are yet. Ask for a code with your own token:")]),
        Text.lines([Text.code(command)]),
        Text.lines([Text.of("(or POST /v1/me/matrix), and say it to me here: link ABCDE-FGHJK")]),
    ])  # fmt: skip


def _line(job: Job) -> Text:
    words = standing(Reading.of_job(job), _product(job), with_details=False).plain
    return _joined(Text.code(short_id(job.id)), f" {', '.join(words.splitlines())}")


def _detailed(job: Job, speaker: Speaker) -> Text:
    words = standing(Reading.of_job(job), _product(job), with_details=speaker.is_private)
    return Text.blocks([words, Text.table([("Job", job.id), ("Requested", moment(job.created_at))])])


def _joined(first: Text, rest: str) -> Text:
    second = Text.of(rest)
    return Text(first.plain + second.plain, first.html + second.html)


def _product(job: Job) -> str:
    return one_line(job.name or job.backend or job.queue, 60)
