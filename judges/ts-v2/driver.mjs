// Drives @modelcontextprotocol/client, the second line of the TypeScript SDK.
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";

import { run } from "../dialogue.mjs";
import { play } from "../script.mjs";

await run(play({
  transport: (url, authProvider) => new StreamableHTTPClientTransport(url, { authProvider }),
  connect: async (transport) => {
    const client = new Client({ name: "judge-ts-v2", version: "1.0.0" });
    await client.connect(transport);
    return client;
  },
  // The whole query goes in: this line checks `iss` (RFC 9207) and reads `error` itself.
  finish: (transport, parameters) => transport.finishAuth(parameters),
  callTool: (client, parameters, options) => client.callTool(parameters, options),
  isUnauthorized: (error) => error instanceof UnauthorizedError,
}));
