// Drives @modelcontextprotocol/sdk, the first line of the TypeScript SDK, under most products today.
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { run } from "../dialogue.mjs";
import { play } from "../script.mjs";

await run(play({
  transport: (url, authProvider) => {
    // The transport of 2024-11-05 has no successor in the second line of the SDK.
    const Transport = authProvider.options.transport === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
    return new Transport(url, { authProvider });
  },
  connect: async (transport) => {
    const client = new Client({ name: "judge-ts-v1", version: "1.0.0" });
    await client.connect(transport);
    return client;
  },
  // This line takes the code alone; errors in the callback are the application's business.
  finish: async (transport, parameters) => {
    if (parameters.has("error")) throw new Error(parameters.get("error"));
    await transport.finishAuth(parameters.get("code"));
  },
  callTool: (client, parameters, options) => client.callTool(parameters, undefined, options),
  isUnauthorized: (error) => error instanceof UnauthorizedError,
}));
