// Serves MCP over HTTP on loopback, as the SDK's guide does it: no sign-in anywhere.
import { createServer } from "node:http";

import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from "@modelcontextprotocol/node";

/** Answers at `/mcp` of this port with `handler` and says so on stdout. */
export const listen = (handler, port) => {
  const isOurHost = localhostHostValidation();
  const isOurOrigin = localhostOriginValidation();
  const answer = toNodeHandler(handler);
  const server = createServer(async (request, response) => {
    if (!isOurHost(request, response) || !isOurOrigin(request, response)) return;
    if (new URL(request.url, "http://localhost").pathname !== "/mcp") {
      response.writeHead(404).end();
      return;
    }
    await answer(request, response);
  });
  server.listen(port, "127.0.0.1", () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}/mcp`);
  });
};
