"""An entry of a contact directory, as a file or a row states it."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from heliograph.notices.addresses import is_recipient
from heliograph.notices.model import Wish
from heliograph.wire.submission import ChannelWishes
from heliograph_notifier.contacts.port import Contact

_Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class Entry(ChannelWishes):
    """Where to reach somebody, in which role they are, and what they wish to be told; the rest follows the platform.

    In a file, ``who`` names somebody of its section ``people``, whose fields hold where the entry states none; the
    section is the context of the validation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Line | None = Field(default=None, description="For those who read the directory")
    role: _Line | None = Field(default=None, description="What they are to the subject")
    login: _Line | None = Field(default=None, description="What their tokens call them; what they mute holds here too")
    email: _Line | None = Field(default=None, description="A mail address")
    matrix: _Line | None = Field(default=None, description="A Matrix room")
    channel: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")] | None = Field(
        default=None, description="Another channel, or one of these; without it, the recipient is a mail address"
    )
    recipient: _Line | None = Field(default=None, description="Where that channel reaches them")

    @model_validator(mode="before")
    @classmethod
    def _with_person(cls, value: Any, info: ValidationInfo) -> Any:
        people = info.context or {}
        value = {"who": value} if isinstance(value, str) else value
        if not isinstance(value, dict) or "who" not in value:
            return value
        person = people.get(value["who"]) if isinstance(value["who"], str) else None
        if not isinstance(person, dict):
            raise ValueError(f"nobody under people is called {value['who']}")  # noqa: TRY004 - pydantic takes a ValueError
        return {**person, **{name: given for name, given in value.items() if name != "who"}}

    @model_validator(mode="after")
    def _reaches_somebody(self) -> Self:
        if self.channel and not self.recipient:
            raise ValueError("a channel takes a recipient")
        if not self._places():
            raise ValueError("it has neither email nor matrix nor recipient, so that nobody can be told")
        for channel, recipient in self._places():
            if not is_recipient(channel, recipient):
                raise ValueError(f"this is no recipient on the channel {channel}")
        return self

    def contact(self) -> Contact:
        """Return it as a contact, with a wish for each channel that it names."""
        wished = self.model_dump(include=set(ChannelWishes.model_fields), exclude_none=True)
        wishes = (Wish(channel, recipient, **wished, person=self.login) for channel, recipient in self._places())
        return Contact(self.role, tuple(wishes))

    def _places(self) -> list[tuple[str, str]]:
        named = [("email", self.email), ("matrix", self.matrix), (self.channel or "email", self.recipient)]
        return [(channel, recipient) for channel, recipient in named if recipient]
