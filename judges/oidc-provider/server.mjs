// Starts oidc-provider, a certified authorization server, with the fixtures of xtask/src/judge/differential/side.rs.
//
// Out: {"listening": issuer}; then it serves until its standard input ends.
// Its person is always alice, who is signed in and approves at once; what her pages look like is not compared.
import { createServer } from "node:http";

import { Provider, errors } from "oidc-provider";

console.log = console.info = console.warn = console.error;
const { port, resource, scopes, clients } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients,
  scopes: ["offline_access", ...scopes],
  claims: { openid: ["sub"] },
  responseTypes: ["code"],
  pkce: { required: () => true },
  cookies: { keys: ["one process, one run"] },
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed("refresh_token"),
  rotateRefreshToken: true,
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  clientAuthMethods: ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientAuthMethod !== "none" },
    revocation: { enabled: true },
    registration: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    rpInitiatedLogout: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    dPoP: { enabled: false },
    userinfo: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, wanted) => {
        if (wanted !== resource) throw new errors.InvalidTarget();
        return { scope: scopes.join(" "), audience: resource, accessTokenTTL: 600, accessTokenFormat: "opaque" };
      },
    },
  },
});

// Alice's pages, without pages: every prompt is answered at once with her consent to all that was asked.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/interaction/")) return next();
  const { params, session, prompt, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  if (prompt.name === "login") {
    return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: "alice" } });
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope ?? "");
  grant.addResourceScope(resource, params.scope ?? "");
  return provider.interactionFinished(
    ctx.req, ctx.res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
});

createServer(provider.callback()).listen(port, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ listening: issuer })}\n`);
});
process.stdin.on("end", () => process.exit()).resume();
