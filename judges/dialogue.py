"""How a driver talks to the judge that started it; the lines are described in dialogue.mjs."""

import json
import sys

import anyio


def say(**message):
    """Writes one line to the judge."""
    print(json.dumps(message), flush=True)


async def hear(name):
    """Reads the judge's next line and returns its member of this name."""
    line = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    message = json.loads(line or "{}")
    if name not in message:
        raise RuntimeError(f"the judge said {line!r} instead of {name!r}")
    return message[name]


def leaves(error):
    """The errors inside a group of errors, one after the other."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def describe(error):
    """All that went wrong, in one line."""
    return "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))
