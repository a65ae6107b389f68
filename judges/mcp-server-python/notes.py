"""An ordinary MCP server that knows nothing of sign-in: a note book.

Over HTTP (`notes.py PORT`), over the older HTTP with SSE (`notes.py --sse PORT`) or on its standard streams (`--stdio`).
"""

import asyncio
import json
import sys

from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import get_http_headers

mcp = FastMCP("notes")
notes: list[str] = []
nods = 0


@mcp.tool
def write_note(words: str) -> str:
    """Writes a note"""
    notes.append(words)
    return f"written: {words}"


@mcp.tool(annotations={"readOnlyHint": True})
def read_notes() -> str:
    """Reads every note"""
    return f"notes: {', '.join(notes)}"


@mcp.tool(annotations={"destructiveHint": True})
def burn_notes() -> str:
    """Burns every note"""
    burnt = ", ".join(notes)
    notes.clear()
    return f"burnt: {burnt}"


@mcp.tool(annotations={"readOnlyHint": True})
async def await_nod(ctx: Context) -> str:
    """Counts aloud until somebody nods"""
    before = nods
    for number in range(1, 101):
        await ctx.report_progress(progress=number)
        await asyncio.sleep(0.3)
        if nods > before:
            return "somebody nodded"
    raise RuntimeError("nobody nodded")


@mcp.tool(annotations={"readOnlyHint": True})
def nod() -> str:
    """Nods"""
    global nods
    nods += 1
    return "nodded"


@mcp.tool(annotations={"readOnlyHint": True})
def show_headers() -> str:
    """Shows the headers of this request"""
    return json.dumps(get_http_headers(include_all=True))


if __name__ == "__main__":
    *mode, last = sys.argv[1:]
    if last == "--stdio":
        mcp.run(show_banner=False)
    else:
        transport = "sse" if mode == ["--sse"] else "http"
        mcp.run(transport=transport, host="127.0.0.1", port=int(last), show_banner=False)
