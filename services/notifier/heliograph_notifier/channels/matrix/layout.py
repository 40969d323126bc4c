"""Notices laid out for a room: a message that says all, and what stands below the line that changes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from heliograph.channels import Notice, Row
from heliograph_notifier.channels.matrix.content import MOST_BYTES, Text, message, weight

_CARD_BYTES = 12_000  # an edit holds its words twice, and the line that changes comes to them


@dataclass(frozen=True, slots=True)
class _Limits:
    """How much is said: rows of a table, files, characters of a text, characters of a cell."""

    rows: int
    files: int
    text: int
    cell: int


# What is too long is said shorter, and at last hardly at all: the job's page has it.
_SHORTER = (_Limits(40, 30, 4_000, 200), _Limits(15, 10, 1_500, 120), _Limits(4, 3, 300, 60), _Limits(0, 0, 100, 60))
_CARD = (_Limits(8, 0, 300, 120), _Limits(3, 0, 100, 60), _Limits(0, 0, 60, 60))


def notice_text(notice: Notice) -> Text:
    """Return everything that a notice says, as one message below the limit of an event."""
    return _fitting(lambda limits: Text.blocks(_parts(notice, limits)), _SHORTER, MOST_BYTES)


def reply_text(notice: Notice) -> Text:
    """Return what a notice says below a message that holds the choices already."""
    return notice_text(replace(notice, choices=()))


def card_text(notice: Notice) -> Text:
    """Return what stays the same of a message that is edited while the work goes on."""
    return _fitting(lambda limits: Text.blocks(_card(notice, limits)), _CARD, _CARD_BYTES)


def _fitting(make: Callable[[_Limits], Text], attempts: tuple[_Limits, ...], most: int) -> Text:
    for limits in attempts:
        text = make(limits)
        if weight(message(text)) <= most:
            return text
    return Text.of(text.plain[: most // 24])  # twice, and 12 bytes for the widest characters


def _parts(notice: Notice, limits: _Limits) -> Iterator[Text]:
    yield Text.lines([Text.bold(_cut(notice.headline, 200)), Text.of(_cut(notice.summary, limits.text))])
    if notice.message:
        yield Text.lines([Text.of(_cut(notice.message, limits.text))])
    if notice.error:
        yield Text.block(_cut(notice.error, limits.text))
    yield _table(notice.outline, limits)
    yield from _sections(notice, limits)
    if limits.files and notice.files:
        rows = tuple((file.name, file.size) for file in notice.files[: limits.files])
        more = len(notice.files) - len(rows)
        yield _table((*rows, ("", f"and {more} more")) if more else rows, limits, "Files")
    if notice.command:
        yield Text.lines([Text.code(_cut(notice.command, 500))])
    yield from _links(notice)


def _card(notice: Notice, limits: _Limits) -> Iterator[Text]:
    yield _table(notice.outline, limits)
    yield from _sections(notice, limits)
    yield from _links(notice)


def _sections(notice: Notice, limits: _Limits) -> Iterator[Text]:
    for section in notice.sections:
        if limits.rows and section.rows:
            yield _table(section.rows, limits, _cut(section.title, 60))


def _links(notice: Notice) -> Iterator[Text]:
    links = [Text.link(link.label, link.url) for link in (*notice.links, *notice.choices) if len(link.url) <= 2_000]
    if links:
        yield Text.lines(links, " · ")
    if notice.choices and notice.why:
        yield Text.lines([Text.of(notice.why)])


def _table(rows: tuple[Row, ...], limits: _Limits, title: str | None = None) -> Text:
    most = max(limits.rows, 4)  # an outline is short, and what there is when all else was too long
    shown = [(_cut(name, 60), _cut(value, limits.cell)) for name, value in rows[:most]]
    if len(rows) > most:
        shown.append(("…", f"and {len(rows) - most} more"))
    return Text.table(shown, title)


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"
