# ruff: noqa: T201 - what jobs print is the point
"""Backends that are given secrets, and tell them wherever they can."""

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, SecretStr

from heliograph.backends import JobContext, Retry, TransientError, UsageError, backend


class Login(BaseModel):
    user: str = "ada"
    password: SecretStr


class Vault(BaseModel):
    """What is secret lies at several depths."""

    main: Login
    more: list[Login | int] = []
    pin: SecretStr | None = None
    how: str = "well"
    note: str = ""


@backend(name="vault", version="1", retry=Retry(first=timedelta(0)))
def vault(parameters: Vault, job: JobContext) -> Any:
    """Say how long the secrets are, or do with the password as ``how`` says."""
    password = parameters.main.password.get_secret_value()
    logins = [each for each in parameters.more if isinstance(each, Login)]
    match parameters.how:
        case "tell":
            tell(password, job)
            return {"password": password, password: ["it is", password], "size": len(password)}
        case "tell both" if parameters.pin:
            return tell_both(password, parameters.pin.get_secret_value(), job)
        case "at length" | "keep" | "again and again":
            return FURTHER[parameters.how](password, job)
        case "raise":
            raise RuntimeError(f"{password!r} is of no use")
        case "late":
            speak_late(password)
        case "once" if job.attempt == 1:
            raise TransientError(f"the archive does not take {password} now")
        case "hand on":
            child = job.submit("vault", {"main": {"password": password}, "note": "handed on"})
            return job.wait([child])[0].result
        case "show to a child":
            hand_over(password, job)
    return [len(password), [len(each.password.get_secret_value()) for each in logins]]


def speak_late(password: str) -> None:
    """Have the process say it as soon as the job's own output is closed."""
    job_output = os.fstat(2)

    def look(*_: object) -> None:
        if not os.path.samestat(os.fstat(2), job_output):
            sys.setprofile(None)
            os.write(2, password.encode())

    sys.setprofile(look)


def tell(password: str, job: JobContext) -> None:
    half = len(password) // 2
    os.write(1, f"begun with {password[:half]}".encode())
    os.write(2, f"{password[half:]}\n".encode())
    print(f"it ends with {password}, {password[:2]}", end="")  # what could be the beginning of another
    job.progress(0.5, stage=f"at {password}", message=f"with {password}")
    job.artifact(f"{password}.txt", b"a file")
    job.remember(key=password)


def tell_both(password: str, pin: str, job: JobContext) -> Any:
    for secret in (password, pin, password):
        job.artifact(f"{secret}.txt", secret.encode(), media_type="text/plain" if secret == password else f"x/{pin}")
    job.remember(**{password: 1, pin: 2})
    return {password: 1, pin: 2, "sent": json.dumps({"password": password, "pin": float(pin)})}


def tell_at_length(password: str, job: JobContext) -> Any:
    job.progress(0.5, stage=f"{'x' * 40}{password}{'y' * 99}", message=f"{'x' * 490}{password}{'y' * 990}")
    raise RuntimeError(f"{'x' * 990}{password}{'y' * 2_000}")


def keep(password: str, _: JobContext, kept: list[str] = []) -> Any:  # noqa: B006 - as a client keeps its session
    before, kept[:] = list(kept), [password]
    return [os.getpid(), before]


def repeat(password: str, _: JobContext) -> Any:
    return [password] * (900_000 // len(f"{json.dumps(password)},"))


FURTHER: dict[str, Callable[[str, JobContext], Any]] = {
    "at length": tell_at_length,
    "keep": keep,
    "again and again": repeat,
}


def hand_over(password: str, job: JobContext) -> None:
    for fields in ({"note": f"see {password}"}, {}):
        try:
            job.submit("vault", {"main": {"password": password}, **fields}, name=f"job {password}")
        except UsageError as error:
            job.log(str(error))


SOURCES = [f"{__name__}:vault"]
