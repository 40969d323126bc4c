"""Programs that take code among their arguments, such as ``sh -c``: where a caller's text would be code."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from heliograph_worker.backends.arguments import Argument, Group, Placeholder


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Where a program takes code. Short options are letters, which may stand together behind one dash.

    Attributes
    ----------
    code, long
        Options whose value is code.
    valued
        Options with another value, which may be an argument of its own.
    attached
        Options after whose letter nothing in the argument is an option.
    last
        Options after whose value all belongs to another program.
    files
        Those of ``valued`` that name a file of code, so that the first operand is none.
    has_script
        Its first operand is code, unless an option gave it.
    waits
        Its code is not what follows the option but the first operand.
    mixes
        It knows options behind operands as well.
    reads
        How its code reads an argument that follows it.
    """

    code: str = ""
    long: tuple[str, ...] = ()
    valued: str = ""
    attached: str = ""
    last: str = ""
    files: str = ""
    has_script: bool = False
    waits: bool = False
    mixes: bool = False
    reads: str = ""


_SHELL = Interpreter("c", ("--command",), valued="oO", waits=True, reads='"$1"')
_SWITCHER = Interpreter("c", ("--command", "--session-command"), valued="gGsw", mixes=True)
_PYTHON = Interpreter("c", valued="WX", last="m", reads="sys.argv[1]")
_AWK = Interpreter(
    "e", ("--source",), valued="Ffvil", files="f", has_script=True, reads="ARGV[1], or as a variable that -v sets"
)
_JAVASCRIPT = Interpreter("ep", ("--eval", "--print"), valued="r", reads="process.argv[1]")
_R = Interpreter("e", valued="fg", mixes=True, reads="commandArgs(trailingOnly = TRUE)")
_JULIA = Interpreter("eE", ("--eval", "--print"), valued="LptCJ", reads="ARGS[1]")
_INTERPRETERS = {
    **dict.fromkeys(("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "csh", "tcsh"), _SHELL),
    **dict.fromkeys(("su", "runuser", "script", "flock"), _SWITCHER),  # they hand a command line to a shell
    **dict.fromkeys(("python", "pypy"), _PYTHON),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _AWK),
    **dict.fromkeys(("node", "nodejs"), _JAVASCRIPT),
    "fish": Interpreter("cC", ("--command", "--init-command"), reads="$argv[1]"),
    "perl": Interpreter("eE", attached="iIMmFDdVx", reads="$ARGV[0]"),
    "ruby": Interpreter("e", valued="rICE", attached="iFKx", reads="ARGV[0]"),
    "php": Interpreter("rRBE", ("--run", "--process-code"), valued="dcfz", reads="$argv[1]"),
    "lua": Interpreter("e", valued="l", reads="arg[1]"),
    "sed": Interpreter("e", ("--expression",), valued="fl", files="f", attached="i", has_script=True, mixes=True),
    "R": _R,
    "Rscript": Interpreter("e", ("--eval",), reads=_R.reads),
    "julia": _JULIA,
    "octave": Interpreter(long=("--eval",), valued="p", reads="argv(){1}"),
    "gnuplot": Interpreter("e", mixes=True, reads="ARG1"),
    "tclsh": Interpreter("ce"),
}  # fmt: skip
# They start the program that their arguments name.
_STARTERS = {
    "env", "nice", "nohup", "timeout", "sudo", "xargs", "busybox", "doas", "setsid", "stdbuf", "ionice", "time",
    "chroot", "taskset", "flock",
}  # fmt: skip
_NO_PROGRAM = re.compile(r"$|[A-Za-z_][A-Za-z0-9_]*=|[0-9.]+[smhd]?$")  # a variable, or how long or how nice
_VERSION = re.compile(r"[-.0-9]+(\.exe)?$")  # python3.11, lua5.4, ksh93


@dataclass(frozen=True, slots=True)
class Exposure:
    """A placeholder whose text a program would run. ``element`` counts the operator's list; ``reads`` may be empty."""

    element: int
    placeholder: Placeholder
    program: str
    reads: str

    def told(self) -> str:
        """Say what is wrong and what to do."""
        shown = f"{{{self.placeholder.name}}}"
        if self.program in _STARTERS and self.program not in _INTERPRETERS:
            return (
                f"argv.{self.element}: {self.program} would run what a caller writes in {shown}; name the program there"
            )
        way = f", where the code reads it as {self.reads}" if self.reads else ", or call a script of your own"
        return (
            f"argv.{self.element}: {self.program} would run what a caller writes in {shown}; write code without it, "
            f"and give {shown} as an argument of its own after the code{way}"
        )


class _Role(Enum):
    """What an argument is to an interpreter."""

    CODE = "code"
    CODE_FOLLOWS = "the first operand is code"
    FILE = "the code is in a file"
    OPERAND = "operand"
    NOTHING = "another option"
    END = "what follows belongs to another program"


@dataclass(frozen=True, slots=True)
class _Word:
    """One argument: its text as far as the operator wrote it, and what of a caller's stands in it."""

    element: int
    text: str  # until the first value of a caller's
    written: tuple[Placeholder, ...]
    can_be_missing: bool


def find_exposures(groups: Sequence[Group], callers: Collection[str], optional: Collection[str]) -> list[Exposure]:
    """Return where a command runs its callers' text as code.

    Parameters
    ----------
    groups
        The command, the program first.
    callers
        The parameters whose text is the caller's own: not numbers, or one of the operator's choices.
    optional
        The parameters that need not be given, so that their arguments may be missing.
    """
    words = list(_words(groups, callers, optional))
    found: list[Exposure] = []
    for position, word in enumerate(words):
        name = _base(word.text)
        if word.written or not (position == 0 or _is_started(words[:position])):
            continue
        if name in _STARTERS:
            found += _started(name, words[position + 1 :])
        interpreter = _INTERPRETERS.get(name)
        if interpreter is None:
            continue
        for place in _code_places(interpreter, words[position + 1 :]):
            found += [Exposure(place.element, each, name, interpreter.reads) for each in place.written]
        if found or name not in _STARTERS:
            break
    return list(dict.fromkeys(found))


def _words(groups: Sequence[Group], callers: Collection[str], optional: Collection[str]) -> Iterator[_Word]:
    for element, group in enumerate(groups):
        all_of_group = [placeholder for argument in group.arguments for placeholder in argument.placeholders]
        can_be_missing = any(each.flag is not None or each.name in optional for each in all_of_group)
        for argument in group.arguments:
            written = tuple(each for each in argument.placeholders if each.flag is None and each.name in callers)
            yield _Word(element, _beginning(argument), written, can_be_missing)


def _beginning(argument: Argument) -> str:
    text = ""
    for part in argument.parts:
        if isinstance(part, Placeholder) and part.flag is None:
            break
        text += part if isinstance(part, str) else str(part.flag)
    return text


def _base(text: str) -> str:
    name = PurePosixPath(text).name
    return name if name in _INTERPRETERS else _VERSION.sub("", name)


def _is_started(before: Sequence[_Word]) -> bool:
    """Whether the name of a program may follow, since the first one starts another."""
    return _base(before[0].text) in _STARTERS


def _started(name: str, words: Sequence[_Word]) -> Iterator[Exposure]:
    """Yield where a caller chooses the program that another starts; ``env -S`` makes several arguments of one."""
    is_split = before_is_option = False
    for word in words:
        is_split = is_split or (name == "env" and re.match(r"-[a-zA-Z0-9]*S|--split-string", word.text) is not None)
        chooses = not word.text and not before_is_option
        if word.written and (is_split or chooses):
            yield from (Exposure(word.element, each, name, "") for each in word.written)
        before_is_option = word.text.startswith("-")
        if not (is_split or before_is_option or _NO_PROGRAM.match(word.text)):
            return


def _code_places(interpreter: Interpreter, words: Sequence[_Word]) -> Iterator[_Word]:
    """Yield the arguments that the program takes as code."""
    is_next = interpreter.has_script
    for role, word in _roles(interpreter, words):
        if role is _Role.CODE:
            yield word
            is_next = is_next and word.can_be_missing
        elif role is _Role.CODE_FOLLOWS:
            is_next = True
        elif role is _Role.FILE:
            is_next = False
        elif role is _Role.NOTHING:
            continue
        elif is_next:
            yield word
            is_next = word.can_be_missing
        elif not interpreter.mixes and not word.can_be_missing:
            return


def _roles(interpreter: Interpreter, words: Sequence[_Word]) -> Iterator[tuple[_Role, _Word]]:
    """Yield what each argument is, without the values of options that are no code."""
    has_options = True
    number = 0
    while number < len(words):
        word = words[number]
        number += 1
        is_option = word.text[:1] == "-" or (interpreter.waits and word.text[:1] == "+")
        if not has_options or not is_option or word.text == "-":
            yield _Role.OPERAND, word
        elif word.text == "--":
            has_options = False
        else:
            role, takes = _option(interpreter, word)
            if role is _Role.END:
                return
            values = list(_values(words[number:])) if takes else []
            number += len(values)
            if role is _Role.CODE:
                yield from ((role, each) for each in values or [word])
            else:
                yield role, word


def _values(words: Sequence[_Word]) -> Iterator[_Word]:
    """Yield the first argument, and those behind it that are the first where it is missing."""
    for word in words:
        yield word
        if not word.can_be_missing:
            return


def _option(interpreter: Interpreter, word: _Word) -> tuple[_Role, bool]:
    """Return what an option says, and whether it takes the next argument."""
    if word.text.startswith("--"):
        name, equals, _ = word.text.partition("=")
        if name == "--file":
            return _Role.FILE, not equals
        is_code = name in interpreter.long
        return _Role.CODE if is_code else _Role.NOTHING, is_code and not equals
    role = _Role.NOTHING
    for place, letter in enumerate(word.text[1:], start=2):
        rest = word.text[place:]
        ends = not rest and not word.written
        if letter in interpreter.last:
            return _Role.END, False
        if letter in interpreter.code and interpreter.waits:
            role = _Role.CODE_FOLLOWS
        elif letter in interpreter.code and not (rest and set(rest) <= set(interpreter.code)):  # node -pe
            return _Role.CODE, ends
        elif letter in interpreter.valued:
            return _Role.FILE if letter in interpreter.files else role, ends
        elif letter in interpreter.attached:
            break
    return role, False
