"""A site's own templates of mails: which one is taken, and that one that fails loses no mail."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from heliograph.notices.model import Occasion, Policy, Subject, SubjectKind
from heliograph_notifier.channels.message import Composer
from heliograph_notifier.describing.job import describe_job
from tests.parts.mails import DELIVERY, JOB, LINKS, PICTURE, mail, mail_of, part

PLACES = ["periodogram/job", "periodogram/notice", "job", "notice"]  # the first that is there is taken
MAIL = "Your request is done"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(("form", "kind"), [("txt", "plain"), ("html", "html")])
def test_the_nearest_template_is_taken(tmp_path: Path, form: str, kind: str) -> None:
    for number in range(len(PLACES), 0, -1):
        for place in PLACES[number - 1 :]:
            write(tmp_path, f"{place}.{form}", f"{place} says {{{{ notice.short_id }}}} & {{{{ site }}}}")
        assert part(mail(templates=tmp_path), kind).rstrip("\n") == f"{PLACES[number - 1]} says KE8PXN4C & Heliograph"


def test_the_other_part_is_the_one_that_ships(tmp_path: Path) -> None:
    write(tmp_path, "job.txt", "short")
    message = mail(templates=tmp_path)
    assert part(message, "plain") == "short\n"
    assert MAIL in part(message, "html")


@pytest.mark.parametrize("place", ["lightcurve/job", "test", "group", "lightcurve/notice"])
def test_a_template_for_something_else_is_not_taken(tmp_path: Path, place: str) -> None:
    write(tmp_path, f"{place}.txt", "wrong")
    assert MAIL in part(mail(templates=tmp_path), "plain")


@pytest.mark.parametrize("backend", ["..", "../site", "a/b", "", ".", "A", "x" * 65])
def test_a_backend_leads_to_no_other_folder(tmp_path: Path, backend: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    write(tmp_path, "notice.txt", "outside")
    for name in ("a", "A"):
        write(site, f"{name}/notice.txt", "outside")
    assert MAIL in part(mail(replace(JOB, backend=backend), templates=site), "plain")


def test_a_template_may_extend_the_one_that_ships(tmp_path: Path) -> None:
    write(
        tmp_path, "notice.html",
        '{% extends "shipped:notice.html" %}{% block foot %}<p>Physics, room {{ notice.product }}</p>{% endblock %}',
    )  # fmt: skip
    html = part(mail(replace(JOB, name="<4>"), picture=PICTURE, templates=tmp_path), "html")
    assert "<p>Physics, room &lt;4&gt;</p>" in html
    assert MAIL in html
    assert "Stop all messages" not in html
    assert "cid:" in html


def test_values_are_escaped_in_a_sites_html_too(tmp_path: Path) -> None:
    write(tmp_path, "notice.html", "{{ notice.product }}")
    assert part(mail(replace(JOB, name="<b>"), templates=tmp_path), "html") == "&lt;b&gt;\n"


@pytest.mark.parametrize(
    "text",
    [
        "{% if %}", "{{ notice.nothing }}", "{{ nothing }}", "{{ 1 / 0 }}", '{% include "missing.txt" %}',
        '{% extends "shipped:missing.txt" %}', '{% include "job.txt" %}', "{{ notice.files.x }}",
    ],
)  # fmt: skip
def test_one_that_fails_is_logged_once_and_loses_no_mail(tmp_path: Path, text: str) -> None:
    write(tmp_path, "job.txt", text)
    composer = Composer("heliograph@example.org", None, tmp_path)
    notice = describe_job(JOB, DELIVERY, LINKS)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert MAIL.encode() in composer.compose(notice, DELIVERY)
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert logs[0]["template"].startswith("job.txt")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("one\n{{ notice.nope }}", "job.txt:2", "notice.nope is unknown"),
        ("{{ notice.links[0].nope }}", "job.txt:1", "link.nope is unknown"),
        ("{{ nope }}", "job.txt:1", "'nope' is undefined"),
        ("one\ntwo\n{% if %}", "job.txt:3", "Expected an expression"),
        ('{% extends "shipped:notice.txt" %}\n{% block foot %}\n{{ notice.nope }}{% endblock %}', "job.txt:3", "nope"),
    ],
)  # fmt: skip
def test_the_log_says_where_it_fails_and_what_nobody_knows(tmp_path: Path, text: str, place: str, words: str) -> None:
    write(tmp_path, "job.txt", text)
    with structlog.testing.capture_logs() as logs:
        mail(templates=tmp_path)
    assert logs[0]["template"] == place
    assert words in logs[0]["error"]
    assert "heliograph" not in logs[0]["error"]


def test_one_that_cannot_be_read_loses_no_mail(tmp_path: Path) -> None:
    (tmp_path / "job.txt").write_bytes(b"\xff\xfe\xff")
    assert MAIL in part(mail(templates=tmp_path), "plain")
    assert MAIL in part(mail(templates=tmp_path / "missing"), "plain")


def test_one_that_is_mended_is_taken_and_complains_again(tmp_path: Path) -> None:
    composer = Composer("heliograph@example.org", None, tmp_path)
    notice = describe_job(JOB, DELIVERY, LINKS)
    complaints = []
    for when, (text, is_good) in enumerate(
        [("{% if %}", False), ("mended", True), ("{{ x }}", False), ("again", True)]
    ):
        path = write(tmp_path, "job.txt", text)
        os.utime(path, (when, when))  # file systems keep times less finely than this loop runs
        with structlog.testing.capture_logs() as logs:
            made = composer.compose(notice, DELIVERY)
        complaints.append(len(logs))
        assert (text.encode() in made) is is_good
    assert complaints == [1, 0, 1, 0]


def policy(
    composer: Composer, occasion: Occasion, kind: SubjectKind = SubjectKind.JOB, backend: str | None = None
) -> Policy:
    return composer.after_unknown(replace(DELIVERY, occasion=occasion, subject=Subject(kind, "x")), backend)


def test_what_ships_repeats_what_is_worth_a_second_copy() -> None:
    composer = Composer("heliograph@example.org")
    once = {Occasion.TEST}
    for occasion in Occasion:
        expected = Policy.AT_MOST_ONCE if occasion in once else Policy.AT_LEAST_ONCE
        assert policy(composer, occasion) is expected, occasion


def test_a_sites_template_says_what_happens_to_its_mails(tmp_path: Path) -> None:
    composer = Composer("heliograph@example.org", None, tmp_path)
    write(tmp_path, "periodogram/job.txt", '{% set when_unknown = {"done": "at-most-once"} %}{{ undefined }}')
    write(tmp_path, "job.txt", "says nothing of it")
    write(tmp_path, "notice.txt", "{# first #}\n{% set when_unknown = {} %}\ntext")
    assert policy(composer, Occasion.DONE, backend="periodogram") is Policy.AT_MOST_ONCE
    assert policy(composer, Occasion.SUBMITTED, backend="periodogram") is Policy.AT_LEAST_ONCE
    assert policy(composer, Occasion.DONE) is Policy.AT_LEAST_ONCE
    assert policy(composer, Occasion.TEST) is Policy.AT_LEAST_ONCE
    (tmp_path / "notice.txt").unlink()
    assert policy(composer, Occasion.TEST) is Policy.AT_MOST_ONCE  # as what ships says


@pytest.mark.parametrize(
    "words", ['{"done": "twice"}', '{"over": "at-most-once"}', '"at-most-once"', "{notice.occasion: 1}", "{"]
)
def test_what_it_says_wrongly_is_logged_and_what_ships_holds(tmp_path: Path, words: str) -> None:
    write(tmp_path, "notice.txt", f"{{% set when_unknown = {words} %}}")
    with structlog.testing.capture_logs() as logs:
        composer = Composer("heliograph@example.org", None, tmp_path)
        assert policy(composer, Occasion.TEST) is policy(composer, Occasion.TEST) is Policy.AT_MOST_ONCE
    assert len(logs) == 1


def test_a_template_gets_what_is_documented(tmp_path: Path) -> None:
    write(
        tmp_path, "notice.txt",
        "{{ notice.subject.kind }} {{ notice.occasion }} {{ notice.state }} {{ notice.short_id }} {{ notice.product }} "
        "{{ notice.title }} {{ notice.headline }} {{ notice.summary }} {{ notice.message }} {{ notice.error }} "
        "{{ notice.backend }} {{ notice.sections[0].title }} {{ notice.sections[0].rows[0][0] }} "
        "{{ notice.outline[0][1] }} "
        "{{ notice.files[0].name }} {{ notice.files[0].size }} {{ notice.links[0].label }} {{ notice.choices[0].url }} "
        "{{ notice.why }} {{ notice.unsubscribe }} {{ notice.command }} {{ notice.snippet }} "
        "{{ notice.is_confidential }} "
        "{{ site }} {{ contact }} {{ picture_id }} THE END",
    )  # fmt: skip
    text = part(mail_of(describe_job(JOB, DELIVERY, LINKS), DELIVERY, templates=tmp_path), "plain")
    assert text.startswith("job done done KE8PXN4C periodogram [Heliograph] done: ")
    assert text.endswith("THE END\n")
