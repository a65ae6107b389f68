// Drives oauth4webapi, which reads every answer strictly by its RFC.
import * as oauth from "oauth4webapi";

import { run } from "../dialogue.mjs";
import { play } from "./story.mjs";

// The judge's server is on loopback, where it needs no TLS.
const loopback = { [oauth.allowInsecureRequests]: true };

/** A client at a server: what the application behind it does, in the words of the library. */
class Client {
  constructor(server, metadata, authentication) {
    this.server = server;
    this.metadata = metadata;
    this.authentication = authentication;
  }

  async authorizationUrl(parameters, verifier) {
    const url = new URL(this.server.authorization_endpoint);
    url.search = new URLSearchParams({
      client_id: this.metadata.client_id,
      response_type: "code",
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      ...parameters,
    });
    return url.href;
  }

  async redeem(callback, state, verifier, redirectUri, more = {}) {
    const parameters = oauth.validateAuthResponse(this.server, this.metadata, new URL(callback), state);
    const response = await oauth.authorizationCodeGrantRequest(
      this.server, this.metadata, this.authentication, parameters, redirectUri, verifier,
      { ...loopback, additionalParameters: more });
    return oauth.processAuthorizationCodeResponse(this.server, this.metadata, response);
  }

  async refresh(token, more = {}) {
    const response = await oauth.refreshTokenGrantRequest(
      this.server, this.metadata, this.authentication, token, { ...loopback, additionalParameters: more });
    return oauth.processRefreshTokenResponse(this.server, this.metadata, response);
  }

  async clientCredentials(parameters) {
    const response = await oauth.clientCredentialsGrantRequest(
      this.server, this.metadata, this.authentication, parameters, loopback);
    return oauth.processClientCredentialsResponse(this.server, this.metadata, response);
  }

  async introspect(token, more = {}) {
    const response = await oauth.introspectionRequest(
      this.server, this.metadata, this.authentication, token, { ...loopback, additionalParameters: more });
    return oauth.processIntrospectionResponse(this.server, this.metadata, response);
  }

  async revoke(token, more = {}) {
    const response = await oauth.revocationRequest(
      this.server, this.metadata, this.authentication, token, { ...loopback, additionalParameters: more });
    await oauth.processRevocationResponse(response);
  }

  async askForDevice(parameters) {
    const response = await oauth.deviceAuthorizationRequest(
      this.server, this.metadata, this.authentication, parameters, loopback);
    return oauth.processDeviceAuthorizationResponse(this.server, this.metadata, response);
  }

  async awaitDevice(codes) {
    let interval = codes.interval ?? 5;
    const end = Date.now() + codes.expires_in * 1000;
    while (Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, interval * 1000));
      const response = await oauth.deviceCodeGrantRequest(
        this.server, this.metadata, this.authentication, codes.device_code, loopback);
      try {
        return await oauth.processDeviceCodeResponse(this.server, this.metadata, response);
      } catch (error) {
        if (error.error === "slow_down") interval += 5;
        else if (error.error !== "authorization_pending") throw error;
      }
    }
    throw new Error("nobody decided about the device");
  }
}

const authentications = {
  none: () => oauth.None(),
  client_secret_basic: ({ client_secret }) => oauth.ClientSecretBasic(client_secret),
  client_secret_post: ({ client_secret }) => oauth.ClientSecretPost(client_secret),
  private_key_jwt: (_, { privateKey, publicJwk }) => oauth.PrivateKeyJwt({ key: privateKey, kid: publicJwk.kid }),
};

await run(play({
  async discover(issuer, algorithm) {
    const response = await oauth.discoveryRequest(issuer, { ...loopback, algorithm });
    return oauth.processDiscoveryResponse(issuer, response);
  },
  async open(server, metadata, method, keys) {
    return new Client(server, metadata, authentications[method](metadata, keys));
  },
  async register(server, metadata) {
    const response = await oauth.dynamicClientRegistrationRequest(server, metadata, loopback);
    return oauth.processDynamicClientRegistrationResponse(response);
  },
  async checkJwt(server, token, audience) {
    const request = new Request(audience, { headers: { authorization: `Bearer ${token}` } });
    return oauth.validateJwtAccessToken(server, request, audience, loopback);
  },
  async protectedResource(resource) {
    const response = await oauth.resourceDiscoveryRequest(resource, loopback);
    return oauth.processResourceDiscoveryResponse(resource, response);
  },
}));
