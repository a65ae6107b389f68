"""Drives the client of `fastmcp`: its own token store, its own browser call, its own callback page."""

import json
import logging
import sys
import time
import webbrowser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.memory import MemoryStore

sys.path.insert(0, str(Path(__file__).parent.parent))
from dialogue import describe, hear, say  # noqa: E402

# A library that waits for ever is a failure too, in seconds.
PATIENCE = 120


class Browser(webbrowser.BaseBrowser):
    """What `webbrowser` opens here: it says only where it was sent."""

    def __init__(self):
        super().__init__("judge")
        self.urls = []
        self.opened = anyio.Event()

    def open(self, url, new=0, autoraise=True):
        self.urls.append(url)
        self.opened.set()
        return True


def library(server_url, options):
    """The library's own provider, told who it is."""
    client = options.get("client") or {}
    redirect_uri = urlsplit(options["redirect_uri"])
    return OAuth(
        server_url,
        client_name=options["client_name"],
        token_storage=MemoryStore(),
        callback_port=redirect_uri.port,
        callback_host=redirect_uri.hostname,
        client_id=client.get("client_id"),
        client_secret=client.get("client_secret"),
        client_metadata_url=options.get("client_metadata_url"),
    )


async def credentials(oauth):
    store = oauth.token_storage_adapter
    client = (await store.get_client_info()).model_dump(
        mode="json", include={"client_id", "client_secret", "token_endpoint_auth_method"}
    )
    return {"client": client, "tokens": (await store.get_tokens()).model_dump(mode="json", exclude_none=True)}


async def visit(callback):
    """Goes to the library's page, which opens a moment after the browser."""
    async with httpx2.AsyncClient() as http:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                page = await http.get(callback)
                break
            except httpx2.ConnectError:
                if time.monotonic() > deadline:
                    raise
                await anyio.sleep(0.02)
    if page.status_code >= 400:
        raise RuntimeError(f"the library's page says {page.status_code}: {page.text}")


async def sign_in(browser):
    """The person's part, while the library waits."""
    await browser.opened.wait()
    url = browser.urls[0]
    say(step="registered", ok=True, client_id=parse_qs(urlsplit(url).query)["client_id"][0])
    say(authorize=url)
    await visit(await hear("callback"))


async def drive(server_url, options):
    browser = Browser()
    webbrowser.register("judge", None, browser, preferred=True)
    oauth = library(server_url, options)

    async def call(client):
        result = await client.call_tool(options["tool"], options["arguments"])
        return " ".join(part.text for part in result.content)

    # 1.–3. Refused, registered, signed in, let in: all inside the library.
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sign_in, browser)
        client = Client(server_url, auth=oauth)
        await client.__aenter__()
    if len(browser.urls) != 1:
        raise RuntimeError(f"the library opened {len(browser.urls)} browsers")
    say(step="authorized", ok=True, **await credentials(oauth))
    say(step="listed", ok=True, tools=[tool.name for tool in await client.list_tools()])
    say(step="called", ok=True, text=await call(client))

    # 4. The access token's time is up, says the library's own clock: it refreshes.
    before = await credentials(oauth)
    oauth.context.token_expiry_time = 1.0
    say(step="called_again", ok=True, text=await call(client))
    after = await credentials(oauth)
    if len(browser.urls) != 1:
        raise RuntimeError("the library opened a browser instead of refreshing")
    for name in ("access_token", "refresh_token"):
        if before["tokens"][name] == after["tokens"][name]:
            raise RuntimeError(f"the refresh gave the same {name}")
    say(step="refreshed", ok=True, **after)

    # 5. The judge revokes: no answer, and a browser for a new sign-in.
    await hear("revoked")
    browser.opened = anyio.Event()
    answers, errors = [], []

    async def call_revoked():
        try:
            answers.append(await call(client))
        except Exception as error:
            # The library may give the call up while it waits for the person.
            errors.append(describe(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call_revoked)
        with anyio.move_on_after(PATIENCE / 2):
            await browser.opened.wait()
        tasks.cancel_scope.cancel()
    if answers:
        raise RuntimeError(f"a revoked token still works: {answers}")
    if not browser.opened.is_set():
        raise RuntimeError(f"the library did not ask for a new sign-in: {errors}")
    say(step="revoked_refused", ok=True, error=f"a browser is wanted {errors}")


async def main():
    # The judge reads only JSON; what the library logs is shown when something goes wrong.
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    try:
        with anyio.fail_after(PATIENCE):
            await drive(sys.argv[1], json.loads(sys.argv[2]))
    except Exception as error:
        say(step="failed", ok=False, error=describe(error))
        raise


if __name__ == "__main__":
    anyio.run(main)
