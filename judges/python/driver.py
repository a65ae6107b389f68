"""Drives `mcp`, the Python SDK. How it talks to the judge stands in ../dialogue.mjs."""

import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata

sys.path.insert(0, str(Path(__file__).parent.parent))
from dialogue import describe, hear, leaves, say  # noqa: E402

# A library that waits for ever is a failure too.
PATIENCE = 120


class Memory:
    """The library's token store, kept in memory."""

    def __init__(self, client=None):
        self.tokens = None
        self.client = client
        self.granted = 0

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens
        self.granted += 1

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info

    def credentials(self):
        client = self.client.model_dump(
            mode="json", include={"client_id", "client_secret", "token_endpoint_auth_method"}
        )
        tokens = self.tokens.model_dump(mode="json", exclude_none=True)
        return {"client": client, "tokens": tokens}


class NewSignInWanted(Exception):
    """The library wants a browser where none should be needed, or where we expect it to."""


class Application:
    """What surrounds the library: it owns the browser and receives the callback."""

    def __init__(self, server_url, options):
        known = options.get("client")
        self.memory = Memory(
            OAuthClientInformationFull(redirect_uris=[options["redirect_uri"]], **known) if known else None
        )
        self.may_open_browser = True
        self.wanted_browser = False
        self.wanted_sign_in = anyio.Event()
        self.callback = None
        self.expects_refusal = False
        self.transport_name = options.get("transport")
        self.provider = OAuthClientProvider(
            server_url=server_url,
            client_metadata=OAuthClientMetadata(
                client_name=options["client_name"],
                redirect_uris=[options["redirect_uri"]],
                grant_types=["authorization_code", "refresh_token"],
                response_types=["code"],
                token_endpoint_auth_method=options["token_endpoint_auth_method"],
            ),
            storage=self.memory,
            redirect_handler=self.open_browser,
            callback_handler=self.receive,
            client_metadata_url=options.get("client_metadata_url"),
        )

    async def open_browser(self, url):
        self.wanted_browser = True
        if not self.may_open_browser:
            self.wanted_sign_in.set()
            raise NewSignInWanted(url)
        if not self.memory.granted:
            say(step="registered", ok=True, client_id=self.memory.client.client_id)
        say(authorize=url)
        self.callback = await hear("callback")

    async def leave_for_sign_in(self):
        await self.wanted_sign_in.wait()
        raise NewSignInWanted("a sign-in is needed")

    async def receive(self):
        parameters = parse_qs(urlsplit(self.callback).query)
        if "error" in parameters:
            raise RuntimeError(parameters["error"][0])
        one = {name: values[0] for name, values in parameters.items()}
        return AuthorizationCodeResult(code=one["code"], state=one.get("state"), iss=one.get("iss"))

    @asynccontextmanager
    async def transport(self, server_url):
        if self.transport_name == "sse":
            async with sse_client(server_url, timeout=PATIENCE, auth=self.provider) as streams:
                yield streams
            return
        async with httpx2.AsyncClient(auth=self.provider, timeout=PATIENCE) as http:
            async with streamable_http_client(server_url, http_client=http) as streams:
                yield streams

    @asynccontextmanager
    async def session(self, server_url):
        async with self.transport(server_url) as (incoming, outgoing, *_):
            async with ClientSession(incoming, outgoing) as session:
                await session.initialize()
                yield session


async def drive(application, server_url, options):
    memory = application.memory

    # 1.–3. Refused, registered, signed in, let in: all inside the library.
    async with application.session(server_url) as session:
        if not application.wanted_browser:
            raise RuntimeError("the server let a client in that has no token")
        application.may_open_browser = False
        application.wanted_browser = False
        say(step="authorized", ok=True, **memory.credentials())
        tools = (await session.list_tools()).tools
        say(step="listed", ok=True, tools=[tool.name for tool in tools])

        async def call(tool=options["tool"], arguments=options["arguments"], on_progress=None):
            result = await session.call_tool(tool, arguments, progress_callback=on_progress)
            if getattr(result, "is_error", False):
                raise RuntimeError(f"the tool failed: {result.content}")
            return " ".join(part.text for part in result.content)

        say(step="called", ok=True, text=await call())

        # A slow tool says how far it is, and ends only once a client has heard that and called another tool.
        if options.get("stream"):
            stream = options["stream"]
            heard, answers = [], []

            async def answer():
                answers.append(await call(**stream["answer"]))

            async with anyio.create_task_group() as tasks:

                async def hear_progress(progress, *_):
                    heard.append(progress)
                    if len(heard) == 3:
                        tasks.start_soon(answer)

                text = await call(stream["tool"], stream["arguments"], hear_progress)
            say(step="streamed", ok=True, text=text, heard=len(heard), answered=answers[0] if answers else None)

        # A tool that needs a scope more: 403, and the library asks for it on top of what it has.
        if options.get("step_up"):
            application.may_open_browser = True
            text = await call(**options["step_up"])
            application.may_open_browser = False
            if not application.wanted_browser:
                raise RuntimeError("a tool worked whose scope the token lacks")
            application.wanted_browser = False
            say(step="stepped_up", ok=True, text=text, **memory.credentials())

        # 4. The access token's time is up, says the library's own clock: it refreshes.
        before, granted = memory.tokens, memory.granted
        application.provider.context.token_expiry_time = 1.0
        say(step="called_again", ok=True, text=await call())
        after = memory.tokens
        if application.wanted_browser:
            raise RuntimeError("the library asked for a browser instead of refreshing")
        if memory.granted != granted + 1 or after.access_token == before.access_token:
            raise RuntimeError("the library did not refresh")
        if after.refresh_token == before.refresh_token:
            raise RuntimeError("the refresh token was not rotated")
        say(step="refreshed", ok=True, **memory.credentials())

        # 5. The judge revokes: refused, and the library wants a new sign-in. That ends the
        #    session with `NewSignInWanted`, which `main` takes for what it is.
        await hear("revoked")
        application.expects_refusal = True
        async with anyio.create_task_group() as tasks:
            # Over SSE the library logs the refusal and lets the call wait for ever.
            tasks.start_soon(application.leave_for_sign_in)
            raise RuntimeError(f"a revoked token still works: {await call()}")


async def main():
    server_url, options = sys.argv[1], json.loads(sys.argv[2])
    application = Application(server_url, options)
    try:
        with anyio.fail_after(PATIENCE):
            await drive(application, server_url, options)
    except Exception as error:
        sentences = describe(error)
        wants_sign_in = any(isinstance(leaf, NewSignInWanted) for leaf in leaves(error))
        if application.expects_refusal and wants_sign_in:
            say(step="revoked_refused", ok=True, error=sentences)
            return 0
        say(step="failed", ok=False, error=sentences)
    return 1


if __name__ == "__main__":
    sys.exit(anyio.run(main))
