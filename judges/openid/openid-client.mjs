// Drives openid-client, the library that most Node.js applications sign in with.
import * as client from "openid-client";

import { run } from "../dialogue.mjs";
import { play } from "./story.mjs";

const loopback = { execute: [client.allowInsecureRequests] };

const authentications = {
  none: () => client.None(),
  client_secret_basic: ({ client_secret }) => client.ClientSecretBasic(client_secret),
  client_secret_post: ({ client_secret }) => client.ClientSecretPost(client_secret),
  private_key_jwt: (_, { privateKey, publicJwk }) =>
    client.PrivateKeyJwt({ key: privateKey, kid: publicJwk.kid }),
};

/** A client at a server: what the application behind it does, in the words of the library. */
class Client {
  constructor(configuration) {
    this.configuration = configuration;
  }

  async authorizationUrl(parameters, verifier) {
    return client.buildAuthorizationUrl(this.configuration, {
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      ...parameters,
    }).href;
  }

  // The library takes the redirect URI from the callback.
  redeem(callback, state, verifier, _redirectUri, more = {}) {
    const checks = { expectedState: state, pkceCodeVerifier: verifier };
    return client.authorizationCodeGrant(this.configuration, new URL(callback), checks, more);
  }

  refresh(token, more = {}) {
    return client.refreshTokenGrant(this.configuration, token, more);
  }

  clientCredentials(parameters) {
    return client.clientCredentialsGrant(this.configuration, parameters);
  }

  introspect(token, more = {}) {
    return client.tokenIntrospection(this.configuration, token, more);
  }

  revoke(token, more = {}) {
    return client.tokenRevocation(this.configuration, token, more);
  }

  askForDevice(parameters) {
    return client.initiateDeviceAuthorization(this.configuration, parameters);
  }

  awaitDevice(codes) {
    return client.pollDeviceAuthorizationGrant(this.configuration, codes);
  }
}

await run(play({
  async discover(issuer, algorithm) {
    const configuration = await client.discovery(issuer, "anyone", undefined, client.None(), { ...loopback, algorithm });
    return configuration.serverMetadata();
  },
  async open(server, metadata, method, keys) {
    const configuration = new client.Configuration(
      server, metadata.client_id, metadata, authentications[method](metadata, keys));
    client.allowInsecureRequests(configuration);
    return new Client(configuration);
  },
  async register(server, metadata) {
    const configuration = await client.dynamicClientRegistration(
      new URL(server.issuer), metadata, undefined, { ...loopback, algorithm: "oauth2" });
    return configuration.clientMetadata();
  },
}));
