// The application around a TypeScript client library: it keeps what the library asks it
// to keep, in memory, and notes where the library wants a browser to go.
import { randomUUID } from "node:crypto";

/** An `OAuthClientProvider`, as both lines of the TypeScript SDK define it. */
export class Application {
  constructor(options) {
    this.options = options;
    this.authorizationUrl = undefined;
    this.kept = { client: options.client };
  }

  /** Where this client's metadata document lies, if it has one. */
  get clientMetadataUrl() {
    return this.options.client_metadata_url;
  }

  get redirectUrl() {
    return this.options.redirect_uri;
  }

  get clientMetadata() {
    return {
      client_name: this.options.client_name,
      redirect_uris: [this.options.redirect_uri],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: this.options.token_endpoint_auth_method,
    };
  }

  state() {
    this.kept.state = randomUUID();
    return this.kept.state;
  }

  clientInformation() {
    return this.kept.client;
  }

  saveClientInformation(client) {
    this.kept.client = client;
  }

  tokens() {
    return this.kept.tokens;
  }

  saveTokens(tokens) {
    this.kept.tokens = tokens;
  }

  codeVerifier() {
    return this.kept.codeVerifier;
  }

  saveCodeVerifier(codeVerifier) {
    this.kept.codeVerifier = codeVerifier;
  }

  discoveryState() {
    return this.kept.discovery;
  }

  saveDiscoveryState(discovery) {
    this.kept.discovery = discovery;
  }

  invalidateCredentials(scope) {
    if (scope === "all" || scope === "client") delete this.kept.client;
    if (scope === "all" || scope === "tokens") delete this.kept.tokens;
    if (scope === "all" || scope === "verifier") delete this.kept.codeVerifier;
    if (scope === "all" || scope === "discovery") delete this.kept.discovery;
  }

  redirectToAuthorization(url) {
    this.authorizationUrl = url.href;
  }

  /** The callback's parameters, once its `state` is the one that was sent. */
  receive(callback) {
    const parameters = new URL(callback).searchParams;
    if (parameters.get("state") !== this.kept.state) {
      throw new Error(`the callback carries the state ${parameters.get("state")}, not ${this.kept.state}`);
    }
    return parameters;
  }

  /** What the judge needs to look at the tokens and to revoke them. */
  credentials() {
    const { client_id, client_secret, token_endpoint_auth_method } = this.kept.client;
    const { access_token, refresh_token, scope, expires_in } = this.kept.tokens;
    return {
      client: { client_id, client_secret, token_endpoint_auth_method },
      tokens: { access_token, refresh_token, scope, expires_in },
    };
  }
}
