// Drives mcp-remote, the program that lets clients on standard streams reach a server over HTTP.
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { hear, run, say } from "../dialogue.mjs";
import { Browser, parameter, readJson, spoil, visit, within, withFolder, writeJson } from "../program.mjs";

const PROGRAM = fileURLToPath(new URL("node_modules/mcp-remote/dist/proxy.js", import.meta.url));

/** How the program is told who it is. */
const identity = ({ client, client_metadata_url }) => {
  if (client) return ["--static-oauth-client-info", JSON.stringify(client)];
  if (client_metadata_url) return ["--client-metadata-url", client_metadata_url];
  return [];
};

/** A client on the program's standard streams, as desktop applications are. */
class Host {
  #id = 0;
  #waiting = new Map();

  constructor(process) {
    this.process = process;
    this.ended = new Promise((resolve) => process.once("exit", resolve));
    createInterface({ input: process.stdout }).on("line", (line) => {
      const message = JSON.parse(line);
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    });
  }

  send(message) {
    this.process.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  async ask(method, params) {
    this.#id += 1;
    const id = this.#id;
    const answer = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.send({ id, method, params });
    const left = this.ended.then(() => { throw new Error(`the program left during ${method}`); });
    const { result, error } = await within(Promise.race([answer, left]), `an answer to ${method}`);
    if (error) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result;
  }

  async call(name, args) {
    const result = await this.ask("tools/call", { name, arguments: args });
    if (result.isError) throw new Error(`the tool failed: ${JSON.stringify(result.content)}`);
    return result.content.map((part) => part.text).join(" ");
  }
}

/** The program's own store, one file a thing. */
class Store {
  constructor(folder) {
    this.folder = folder;
  }

  async file(name) {
    const files = await readdir(this.folder, { recursive: true });
    const found = files.find((file) => file.endsWith(`_${name}`));
    return found && join(this.folder, found);
  }

  async tokens() {
    return readJson(await this.file("tokens.json"));
  }

  async spoilAccessToken() {
    const tokens = await this.tokens();
    await writeJson(await this.file("tokens.json"), { ...tokens, access_token: spoil(tokens.access_token) });
  }

  /** What the judge needs to look at the tokens and to revoke them. */
  async credentials({ client, client_metadata_url }) {
    const registered = await this.file("client_info.json");
    const own = client ?? (client_metadata_url ? { client_id: client_metadata_url } : await readJson(registered));
    const { client_id, client_secret, token_endpoint_auth_method } = own;
    const { access_token, refresh_token, scope, expires_in } = await this.tokens();
    return {
      client: { client_id, client_secret, token_endpoint_auth_method },
      tokens: { access_token, refresh_token, scope, expires_in },
    };
  }
}

await run((serverUrl, options) => withFolder(async (folder) => {
  const browser = await Browser.open();
  const { hostname, port, pathname } = new URL(options.redirect_uri);
  const program = spawn(process.execPath, [
    PROGRAM, serverUrl.href, port,
    "--host", hostname, "--callback-path", pathname, "--auth-timeout", "60", "--transport", "http-only",
    ...identity(options),
  ], {
    env: { ...process.env, ...browser.environment, HOME: folder, MCP_REMOTE_CONFIG_DIR: folder },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const host = new Host(program);
  const store = new Store(folder);
  try {
    // 1. The program finds everything by itself and opens a browser.
    const initialized = host.ask("initialize", {
      protocolVersion: "2025-11-25",
      capabilities: {},
      clientInfo: { name: "judge-mcp-remote", version: "1.0.0" },
    });
    const left = initialized.then(() => { throw new Error("the server let a program in that has no token"); });
    const url = await Promise.race([browser.next(), left]);
    say({ step: "registered", ok: true, client_id: parameter(url, "client_id") });
    say({ authorize: url });
    left.catch(() => {});

    // 2. Its own page takes the code, and the server answers.
    await visit(await hear("callback"));
    await initialized;
    host.send({ method: "notifications/initialized" });
    say({ step: "authorized", ok: true, ...await store.credentials(options) });
    const { tools } = await host.ask("tools/list", {});
    say({ step: "listed", ok: true, tools: tools.map((tool) => tool.name) });
    say({ step: "called", ok: true, text: await host.call(options.tool, options.arguments) });

    // 3. The access token is no good any more; the program refreshes by itself.
    await store.spoilAccessToken();
    const text = await host.call(options.tool, options.arguments);
    if (browser.hasBeenOpened) throw new Error("the program opened a browser instead of refreshing");
    say({ step: "called_again", ok: true, text });
    say({ step: "refreshed", ok: true, ...await store.credentials(options) });

    // 4. Revoked: no answer, and a browser for a new sign-in.
    await hear("revoked");
    const called = host.call(options.tool, options.arguments).then(
      (answer) => { throw new Error(`a revoked token still works: ${answer}`); },
      // It says so to the browser as well; nobody signs in, so the call may also wait.
      () => browser.next(),
    );
    called.catch(() => {});
    const again = await Promise.race([browser.next(), called]);
    say({ step: "revoked_refused", ok: true, error: `a browser is wanted at ${new URL(again).pathname}` });
  } finally {
    program.kill("SIGTERM");
    await host.ended;
    browser.close();
  }
}));
