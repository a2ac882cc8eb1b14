"""Render a chat template in a process of its own, with bounds that the kernel keeps.

A template is a program: nested loops run for ever, and 'a' * 10**9 takes a gigabyte, already while
it is compiled.

Reads   on standard input, lines of JSON: the template's text, then the variables of each rendering
Writes  on standard output a line for each: {"text"}, {"refused": the template's own words},
        {"over": the bound it went over} or {"broken": why it does not parse}

Run with Python's -I; nothing but jinja2 is imported.
"""

import json
import resource
import signal
import sys
from datetime import datetime
from typing import Any

SECONDS = (
    3.0  # of processor time a rendering; real templates take milliseconds for the longest dialogues
)
MEMORY = 512 << 20
TEXT, TIMES = 100_000, 20  # characters of text: so many, and so many times those of the messages


def compile_template(text: str) -> Any:
    """The template as transformers compiles it (trim_blocks, lstrip_blocks, loop controls, the
    same filters).
    """
    from jinja2.exceptions import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(text)


def answer(template: Any, line: str) -> dict[str, str]:
    """What is written for one line; `template` is compiled already, or text."""
    try:
        variables = json.loads(line)
        text = template.render(**variables)
    except MemoryError:
        return {"over": f"{MEMORY >> 20} MB of memory"}
    except Exception as error:  # what a template may raise is as open as what it may do
        return {"refused": f"{type(error).__name__}: {error}"[:500]}
    if len(text) > TEXT + TIMES * len(line):
        return {"over": f"{TEXT + TIMES * len(line):,} characters of text"}
    return {"text": text}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # its signal ends the process
    template, failed = None, None
    try:
        template = compile_template(json.loads(sys.stdin.readline()))
    except MemoryError:
        failed = {"over": f"{MEMORY >> 20} MB of memory"}
    except Exception as error:  # jinja2's own, and what a folded constant may raise
        failed = {"broken": str(error)[:300]}
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        print(json.dumps(failed or answer(template, line)), flush=True)


if __name__ == "__main__":
    main()
