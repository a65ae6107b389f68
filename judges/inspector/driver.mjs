// Drives the Inspector's command line: one process a command, the tokens kept in its own files between them.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { hear, run, say } from "../dialogue.mjs";
import { Browser, parameter, readJson, spoil, visit, within, withFolder, writeJson } from "../program.mjs";

const PROGRAM = fileURLToPath(new URL(
  "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js",
  import.meta.url,
));

/** How the program is told who it is. */
const identity = ({ client, client_metadata_url }) => {
  if (client) return ["--client-id", client.client_id, ...(client.client_secret ? ["--client-secret", client.client_secret] : [])];
  if (client_metadata_url) return ["--client-metadata-url", client_metadata_url];
  return [];
};

/** The program's own files: what it knows of servers, and its secrets apart from that. */
class Store {
  constructor(folder) {
    this.state = join(folder, "oauth.json");
    this.secrets = join(folder, "secrets.json");
  }

  async tokens() {
    const { secrets } = await readJson(this.secrets);
    const name = Object.keys(secrets).find((key) => key.includes(":tokens:"));
    return { name, tokens: JSON.parse(secrets[name]) };
  }

  async spoilAccessToken() {
    const kept = await readJson(this.secrets);
    const { name, tokens } = await this.tokens();
    kept.secrets[name] = JSON.stringify({ ...tokens, access_token: spoil(tokens.access_token) });
    await writeJson(this.secrets, kept);
  }

  /** What the judge needs to look at the tokens and to revoke them. */
  async credentials({ client, client_metadata_url }) {
    const { access_token, refresh_token, scope, expires_in } = (await this.tokens()).tokens;
    const tokens = { access_token, refresh_token, scope, expires_in };
    if (client) return { client, tokens };
    if (client_metadata_url) return { client: { client_id: client_metadata_url }, tokens };
    const { servers } = await readJson(this.state);
    const { byIssuer, activeIssuer } = Object.values(servers)[0];
    const { client_id, client_secret, token_endpoint_auth_method } = byIssuer[activeIssuer].clientInformation;
    return { client: { client_id, client_secret, token_endpoint_auth_method }, tokens };
  }
}

await run((serverUrl, options) => withFolder(async (folder) => {
  const browser = await Browser.open();
  const store = new Store(folder);
  const running = new Set();

  /** Starts one command; `result` is what it prints, or throws. */
  const start = (method, more = []) => {
    const child = spawn(process.execPath, [
      PROGRAM, "--cli", "--server-url", serverUrl.href, "--transport", "http",
      "--callback-url", options.redirect_uri, ...identity(options),
      "--format", "json", "--method", method, ...more,
    ], {
      env: {
        ...process.env, ...browser.environment, HOME: folder, MCP_STORAGE_DIR: folder,
        MCP_INSPECTOR_SECRET_STORE: "file", MCP_AUTO_OPEN_ENABLED: "true",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(child);
    let out = "";
    let complaints = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { out += text; });
    child.stderr.setEncoding("utf8").on("data", (text) => { complaints += text; });
    const ended = new Promise((resolve) => child.once("close", resolve)).then((code) => {
      running.delete(child);
      if (code !== 0) throw new Error(`${method} ended with ${code}: ${complaints}`);
      return JSON.parse(out);
    });
    ended.catch(() => {});
    return ended;
  };
  const call = async () => {
    const command = ["--tool-name", options.tool, "--tool-args-json", JSON.stringify(options.arguments)];
    const { result } = await within(start("tools/call", command), "an answer to tools/call");
    if (result.isError) throw new Error(`the tool failed: ${JSON.stringify(result.content)}`);
    return result.content.map((part) => part.text).join(" ");
  };

  try {
    // 1. The program finds everything by itself and opens a browser.
    const listing = start("tools/list");
    const left = listing.then(() => { throw new Error("the server let a program in that has no token"); });
    left.catch(() => {});
    const url = await Promise.race([browser.next(), left]);
    say({ step: "registered", ok: true, client_id: parameter(url, "client_id") });
    say({ authorize: url });

    // 2. Its own page takes the code, and the server answers.
    await visit(await hear("callback"));
    const { result: listed } = await within(listing, "an answer to tools/list");
    say({ step: "authorized", ok: true, ...await store.credentials(options) });
    say({ step: "listed", ok: true, tools: listed.tools.map((tool) => tool.name) });
    say({ step: "called", ok: true, text: await call() });

    // 3. The access token is no good any more; the next command refreshes by itself.
    await store.spoilAccessToken();
    const text = await call();
    if (browser.hasBeenOpened) throw new Error("the program opened a browser instead of refreshing");
    say({ step: "called_again", ok: true, text });
    say({ step: "refreshed", ok: true, ...await store.credentials(options) });

    // 4. Revoked: no answer, and a browser for a new sign-in.
    await hear("revoked");
    const refused = call().then((answer) => { throw new Error(`a revoked token still works: ${answer}`); });
    refused.catch(() => {});
    const again = await Promise.race([browser.next(), refused]);
    say({ step: "revoked_refused", ok: true, error: `a browser is wanted at ${new URL(again).pathname}` });
  } finally {
    for (const child of running) child.kill("SIGTERM");
    browser.close();
  }
}));
