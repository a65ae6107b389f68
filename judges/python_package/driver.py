"""Drives the token storage of the Python package `mcp-authflow`, through its public names alone.

Reads a line of JSON for each operation, {"op": NAME, "args": {...}}, and answers with one: {"value": ...} or
{"error": "Class: text"}. The address of the database stands in DATABASE_URL.
"""

import asyncio
import json
import sys
from importlib.metadata import version
from uuid import UUID

from mcp_authflow.storage import PostgresTokenStorage

OPERATIONS = {
    "initialize",
    "close",
    "store_token",
    "load_token",
    "delete_token",
    "store_refresh_token",
    "load_refresh_token",
    "delete_refresh_token",
    "revoke_client_tokens",
    "cleanup_expired_tokens",
    "cleanup_expired_refresh_tokens",
    "get_token_count",
    "get_refresh_token_count",
}


def plain(value):
    """A driver's UUID as the text it stands for."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


async def answer(storage, request):
    operation = request["op"]
    if operation == "version":
        return {"value": version("mcp-authflow")}
    if operation not in OPERATIONS:
        raise ValueError(f"no such operation: {operation}")
    try:
        return {"value": await getattr(storage, operation)(**request.get("args", {}))}
    except Exception as error:  # What the package raises is what we want to see.
        return {"error": f"{type(error).__name__}: {error}"}


async def main():
    storage = PostgresTokenStorage()
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await answer(storage, json.loads(line)), default=plain), flush=True)


asyncio.run(main())
