// What both libraries do at the server, step by step; each step's name is a row of the judge's list.
//
// Beyond the lines of `dialogue.mjs`:
// Out: {"authorize": url, "decision": "allow" | "deny"}           the person goes there and decides so
//      {"device": verification_uri_complete, "decision": …}       the person goes there and decides so
//      {"machine": {"id": …, "jwks": …}}                          the operator adds this client
//      {"step": …, "access_token": …}                             the judge looks at this token from outside
// In:  {"decided": true}, {"added": true}, {"looked": true}
import { strict as assert } from "node:assert";
import { randomBytes, subtle } from "node:crypto";

import { hear, say } from "../dialogue.mjs";

const random = () => randomBytes(32).toString("base64url");

/** A key that only this process can sign with. */
const generateKeys = async (name, algorithm, kid) => {
  const pair = await subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const { kty, crv, x, y, n, e } = await subtle.exportKey("jwk", pair.publicKey);
  const publicJwk = JSON.parse(JSON.stringify({ kty, crv, x, y, n, e, kid, use: "sig", alg: name }));
  return { privateKey: pair.privateKey, publicJwk };
};

/** What the library makes of a refusal: the error code, and the status where there is a response. */
const refusalOf = async (attempt) => {
  const error = await attempt.then(
    (value) => { throw new Error(`this was not refused: ${JSON.stringify(value)}`); },
    (error) => error,
  );
  // A 401 with a challenge is an error of its own, whose body nobody has read yet.
  if (error.name === "WWWAuthenticateChallengeError") {
    const { error: code } = await error.response.json();
    return [error.status, code, ...error.cause.map(({ scheme }) => scheme)];
  }
  if (error.error === undefined) throw error;
  return error.status === undefined ? [error.error] : [error.status, error.error];
};

/** The library's own refusal, before anything is sent. */
const distrustOf = async (attempt) => {
  const error = await attempt.then(() => undefined, (error) => error);
  assert.ok(error !== undefined && error.error === undefined, `the library sent it: ${error}`);
  return error.code;
};

export const play = (library) => async (issuer, options) => {
  const { resource, other_resource: otherResource, redirect_uri: redirectUri, secrets } = options;
  const step = (name, more = {}) => say({ step: name, ok: true, ...more });
  const show = async (name, access_token) => {
    step(name, { access_token });
    await hear("looked");
  };
  const decide = async (kind, url, decision) => {
    say({ [kind]: url, decision });
    return hear(kind === "authorize" ? "callback" : "decided");
  };

  // 1. Discovery: both spellings tell the same.
  const server = await library.discover(issuer, "oauth2");
  assert.deepEqual(await library.discover(issuer, "oidc"), server);
  assert.equal(server.issuer, options.issuer);
  assert.equal(server.authorization_response_iss_parameter_supported, true);
  step("discovered");

  // 2. Registration, one client for each way to prove who it is.
  const keys = await generateKeys("ES256", { name: "ECDSA", namedCurve: "P-256" }, "one");
  const clients = {};
  const methods = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
  for (const method of methods) {
    const metadata = await library.register(server, {
      client_name: `Judge (${method})`,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: method,
      ...(method === "private_key_jwt" && { jwks: { keys: [keys.publicJwk] } }),
    });
    assert.equal(metadata.token_endpoint_auth_method, method);
    assert.equal("client_secret" in metadata, method.startsWith("client_secret"));
    clients[method] = await library.open(server, metadata, method, keys);
  }
  step("registered");

  // 3. A registration that cannot be kept is refused in a way that the library can read.
  const refusedRegistrations = [
    [{ redirect_uris: ["javascript:alert(1)"] }, [400, "invalid_redirect_uri"]],
    [{ redirect_uris: [redirectUri], token_endpoint_auth_method: "tls_client_auth" }, [400, "invalid_client_metadata"]],
    [{ redirect_uris: [redirectUri], grant_types: ["client_credentials"] }, [400, "invalid_client_metadata"]],
  ];
  for (const [metadata, refusal] of refusedRegistrations) {
    assert.deepEqual(await refusalOf(library.register(server, metadata)), refusal);
  }
  step("registration_refused");

  // 4. The resource server's own client asks about tokens.
  const { hello, machine, device: deviceId } = secrets;
  const asker = await library.open(
    server, { client_id: hello[0], client_secret: hello[1] }, "client_secret_basic");
  const isActive = async (token) => (await asker.introspect(token)).active;
  const ask = { scope: "hello:read", resource, redirect_uri: redirectUri };

  for (const method of methods) {
    const client = clients[method];
    // 5. Code and PKCE, through the real pages.
    const begin = async (decision, more = {}, asking = client) => {
      const [state, verifier] = [random(), random()];
      const url = await asking.authorizationUrl({ ...ask, ...more, state }, verifier);
      return { callback: await decide("authorize", url, decision), state, verifier };
    };
    const { callback, state, verifier } = await begin("allow");
    // The library lets no answer through that another server could have sent (RFC 9207).
    for (const iss of [undefined, "http://127.0.0.1:1", `${server.issuer}/`]) {
      const forged = new URL(callback);
      forged.searchParams.delete("iss");
      if (iss !== undefined) forged.searchParams.set("iss", iss);
      assert.equal(await distrustOf(client.redeem(forged.href, state, verifier, redirectUri)), "OAUTH_INVALID_RESPONSE");
    }
    assert.equal(await distrustOf(client.redeem(callback, random(), verifier, redirectUri)), "OAUTH_INVALID_RESPONSE");
    // Somebody without the verifier gets nothing, and spoils nothing.
    assert.deepEqual(await refusalOf(client.redeem(callback, state, random(), redirectUri)), [400, "invalid_grant"]);
    const tokens = await client.redeem(callback, state, verifier, redirectUri, { resource });
    assert.equal(tokens.token_type, "bearer");
    assert.equal(tokens.scope, "hello:read");
    assert.ok(tokens.expires_in > 0 && tokens.refresh_token);
    await show("code", tokens.access_token);

    // 6. Refresh: a new pair; the old token again is a lost answer and gets the same pair.
    const second = await client.refresh(tokens.refresh_token, { resource });
    assert.notEqual(second.refresh_token, tokens.refresh_token);
    assert.equal((await client.refresh(tokens.refresh_token)).refresh_token, second.refresh_token);
    assert.deepEqual(await refusalOf(client.refresh(second.refresh_token, { scope: "hello:write" })), [400, "invalid_scope"]);
    assert.deepEqual(
      await refusalOf(client.refresh(second.refresh_token, { resource: "https://elsewhere.test/" })), [400, "invalid_target"]);
    const third = await client.refresh(second.refresh_token);
    assert.deepEqual(await refusalOf(client.refresh("mcprt_nonsense")), [400, "invalid_grant"]);
    await show("refresh", third.access_token);

    // 7. Revocation: one access token; then a refresh token and all that came of it.
    await client.revoke(third.access_token, { token_type_hint: "access_token" });
    assert.equal(await isActive(third.access_token), false);
    const fourth = await client.refresh(third.refresh_token);
    assert.equal(await isActive(fourth.access_token), true);
    await client.revoke(fourth.refresh_token, { token_type_hint: "refresh_token" });
    assert.equal(await isActive(fourth.access_token), false);
    assert.deepEqual(await refusalOf(client.refresh(fourth.refresh_token)), [400, "invalid_grant"]);
    await client.revoke("a token that nobody ever had");
    step("revocation");

    if (method !== "none") continue;
    // 8. Refusals that come back by the browser, to a client that the operator knows; others' show a page.
    const known = await library.open(server, { client_id: options.secrets.known }, "none");
    const refusals = [
      ["deny", {}, ["access_denied"]],
      [undefined, { scope: "nothing:here" }, ["invalid_scope"]],
      [undefined, { resource: "https://elsewhere.test/" }, ["invalid_target"]],
      [undefined, { response_type: "token" }, ["unsupported_response_type"]],
      [undefined, { prompt: "none" }, ["login_required", "interaction_required", "consent_required"]],
      [undefined, { request: "e30.e30." }, ["request_not_supported"]],
    ];
    for (const [decision, more, expected] of refusals) {
      const { callback, state, verifier } = await begin(decision, more, known);
      const [code] = await refusalOf(known.redeem(callback, state, verifier, redirectUri));
      assert.ok(expected.includes(code), `${JSON.stringify(more)}: ${code} is none of ${expected}`);
    }
    step("authorization_refused");

    // 9. A code presented twice ends what came of it.
    const again = await begin("allow");
    const once = await client.redeem(again.callback, again.state, again.verifier, redirectUri);
    assert.deepEqual(
      await refusalOf(client.redeem(again.callback, again.state, again.verifier, redirectUri)), [400, "invalid_grant"]);
    assert.equal(await isActive(once.access_token), false);
    step("code_replayed");
  }

  // 10. Introspection as the library reads it, and who may not ask.
  const [state, verifier] = [random(), random()];
  const url = await clients.none.authorizationUrl({ ...ask, state }, verifier);
  const tokens = await clients.none.redeem(await decide("authorize", url, "allow"), state, verifier, redirectUri);
  const known = await asker.introspect(tokens.access_token, { token_type_hint: "access_token" });
  assert.deepEqual(
    { active: known.active, iss: known.iss, aud: known.aud, scope: known.scope, token_type: known.token_type },
    { active: true, iss: server.issuer, aud: resource, scope: "hello:read", token_type: "Bearer" });
  assert.deepEqual(await asker.introspect("mcpat_nonsense"), { active: false });
  const impostor = await library.open(
    server, { client_id: hello[0], client_secret: `${hello[1]}x` }, "client_secret_basic");
  assert.deepEqual(await refusalOf(impostor.introspect(tokens.access_token)), [401, "invalid_client", "basic"]);
  step("introspection");

  // 11. A device, allowed and denied by somebody elsewhere.
  const device = await library.open(server, { client_id: deviceId }, "none");
  for (const decision of ["allow", "deny"]) {
    const codes = await device.askForDevice({ scope: "hello:read", resource });
    const waiting = device.awaitDevice(codes);
    waiting.catch(() => undefined);
    await decide("device", codes.verification_uri_complete, decision);
    if (decision === "allow") {
      const { access_token } = await waiting;
      assert.equal(await isActive(access_token), true);
      await show("device", access_token);
    } else {
      assert.deepEqual(await refusalOf(waiting), [400, "access_denied"]);
      step("device_denied");
    }
  }
  assert.deepEqual(await refusalOf(device.askForDevice({ scope: "nothing:here", resource })), [400, "invalid_scope"]);

  // 12. Machines: by secret in both places, and by key.
  const work = { scope: "hello:read", resource };
  for (const method of ["client_secret_basic", "client_secret_post"]) {
    const robot = await library.open(server, { client_id: machine[0], client_secret: machine[1] }, method);
    const { access_token, refresh_token } = await robot.clientCredentials(work);
    assert.equal(await isActive(access_token), true);
    assert.equal(refresh_token, undefined);
    await robot.revoke(access_token);
    assert.equal(await isActive(access_token), false);
    assert.deepEqual(await refusalOf(robot.clientCredentials({ ...work, scope: "hello:write" })), [400, "invalid_scope"]);
    const thief = await library.open(server, { client_id: machine[0], client_secret: "x".repeat(43) }, method);
    const [status, code] = await refusalOf(thief.clientCredentials(work));
    assert.deepEqual([status, code], [401, "invalid_client"]);
  }
  step("client_credentials");
  const algorithms = [
    ["ES256", { name: "ECDSA", namedCurve: "P-256" }],
    ["Ed25519", { name: "Ed25519" }],
    ["RS256", { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }],
    ["PS256", { name: "RSA-PSS", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }],
  ];
  for (const [name, algorithm] of algorithms) {
    const keys = await generateKeys(name, algorithm, `key-${name}`);
    const id = `robot-${name.toLowerCase()}`;
    say({ machine: { id, jwks: { keys: [keys.publicJwk] } } });
    await hear("added");
    const robot = await library.open(server, { client_id: id }, "private_key_jwt", keys);
    for (let turn = 0; turn < 2; turn += 1) {
      assert.equal(await isActive((await robot.clientCredentials(work)).access_token), true);
    }
    // A key that is not the client's, under the same name.
    const others = { ...(await generateKeys(name, algorithm, "x")), publicJwk: keys.publicJwk };
    const thief = await library.open(server, { client_id: id }, "private_key_jwt", others);
    const [status, code] = await refusalOf(thief.clientCredentials(work));
    assert.deepEqual([status, code], [401, "invalid_client"]);
  }
  step("private_key_jwt");

  // 13. What the library can check without the server: a JWT access token (RFC 9068), and the resource's own word.
  if (library.checkJwt) {
    const robot = await library.open(
      server, { client_id: machine[0], client_secret: machine[1] }, "client_secret_basic");
    const { access_token } = await robot.clientCredentials({ scope: "files:read", resource: otherResource });
    const claims = await library.checkJwt(server, access_token, otherResource);
    assert.equal(claims.client_id, machine[0]);
    assert.equal(claims.iss, server.issuer);
    await assert.rejects(library.checkJwt(server, access_token, resource));
    step("jwt_access_token");
  }
  if (library.protectedResource) {
    const said = await library.protectedResource(new URL(resource));
    assert.deepEqual(said.authorization_servers, [server.issuer]);
    step("protected_resource");
  }
};
