// The story that every TypeScript driver plays, whatever the version of its library.
import { Application } from "./application.mjs";
import { hear, say } from "./dialogue.mjs";

/** The token with one letter changed. */
const spoil = (token) => token.slice(0, 20) + (token[20] === "A" ? "B" : "A") + token.slice(21);

/**
 * `library` says how its version spells things:
 * `transport(url, application)`, `connect(transport)` → a client, `finish(transport, parameters)`
 * with the callback's parameters, `callTool(client, parameters, options)`, `isUnauthorized(error)`.
 */
export const play = (library) => async (serverUrl, options) => {
  const application = new Application(options);

  // 1. Without a token the server refuses, and the library wants a browser.
  const first = library.transport(serverUrl, application);
  const refusal = await library.connect(first).then(
    () => { throw new Error("the server let a client in that has no token"); },
    (error) => error,
  );
  if (!library.isUnauthorized(refusal)) throw refusal;
  if (!application.authorizationUrl) throw new Error("the library did not ask for a browser");
  say({ step: "registered", ok: true, client_id: application.kept.client.client_id });
  say({ authorize: application.authorizationUrl });
  application.authorizationUrl = undefined;
  const parameters = application.receive(await hear("callback"));

  // 2. The person said no: the library must say so, and hold nothing.
  if (options.expect_denied) {
    const denial = await library.finish(first, parameters).then(() => undefined, (error) => error);
    if (denial === undefined || application.kept.tokens) throw new Error("the library took a denial for a yes");
    say({ step: "denied", ok: true, error: denial.code ?? denial.errorCode ?? parameters.get("error") });
    return;
  }

  // 3. With the code the library gets tokens, and with them the server answers.
  await library.finish(first, parameters);
  say({ step: "authorized", ok: true, ...application.credentials() });
  const client = await library.connect(library.transport(serverUrl, application));
  const { tools } = await client.listTools();
  say({ step: "listed", ok: true, tools: tools.map((tool) => tool.name) });
  const call = async (tool = options.tool, args = options.arguments, onprogress = undefined) => {
    const result = await library.callTool(client, { name: tool, arguments: args }, { onprogress });
    if (result.isError) throw new Error(`the tool failed: ${JSON.stringify(result.content)}`);
    return result.content.map((part) => part.text).join(" ");
  };
  say({ step: "called", ok: true, text: await call() });

  // A slow tool says how far it is, and ends only once a client has heard that and called another tool.
  if (options.stream) {
    const { tool, arguments: args, answer } = options.stream;
    let heard = 0;
    let answered;
    const text = await call(tool, args, () => {
      heard += 1;
      if (heard === 3) answered = call(answer.tool, answer.arguments);
    });
    say({ step: "streamed", ok: true, text, heard, answered: await answered });
  }

  // A tool that needs a scope more: 403, and the library asks for it on top of what it has.
  if (options.step_up) {
    const { tool, arguments: args } = options.step_up;
    const short = await call(tool, args).then(() => undefined, (error) => error);
    if (short === undefined) throw new Error("a tool worked whose scope the token lacks");
    if (!library.isUnauthorized(short)) throw short;
    if (!application.authorizationUrl) throw new Error("the library did not ask for the missing scope");
    say({ authorize: application.authorizationUrl });
    application.authorizationUrl = undefined;
    await library.finish(client.transport, application.receive(await hear("callback")));
    say({ step: "stepped_up", ok: true, text: await call(tool, args), ...application.credentials() });
  }

  // 4. The access token is no good any more (here: one letter is wrong). The library
  //    refreshes by itself, without a browser, and goes on.
  const before = application.kept.tokens;
  const spoilt = spoil(before.access_token);
  application.kept.tokens = { ...before, access_token: spoilt };
  say({ step: "called_again", ok: true, text: await call() });
  const after = application.kept.tokens;
  if (application.authorizationUrl) throw new Error("the library asked for a browser instead of refreshing");
  if (after.access_token === spoilt) throw new Error("the library did not refresh");
  if (after.access_token === before.access_token) throw new Error("the refresh gave the same access token");
  if (after.refresh_token === before.refresh_token) throw new Error("the refresh token was not rotated");
  say({ step: "refreshed", ok: true, ...application.credentials() });

  // 5. The judge revokes; the server must refuse, and the library must want a new sign-in.
  await hear("revoked");
  const refused = await call().then(() => undefined, (error) => error);
  if (refused === undefined) throw new Error("a revoked token still works");
  if (!library.isUnauthorized(refused)) throw refused;
  if (!application.authorizationUrl) throw new Error("the library did not start a new authorization");
  say({ step: "revoked_refused", ok: true, error: `${refused.name}: ${refused.message}` });
};
