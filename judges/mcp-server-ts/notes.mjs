// An ordinary MCP server that knows nothing of sign-in: a note book, over HTTP or (`--stdio`) over its standard streams.
import { McpServer, createMcpHandler } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import * as z from "zod";

import { listen } from "./listen.mjs";

const notes = [];
let nods = 0;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const text = (words) => ({ content: [{ type: "text", text: words }] });

const noteBook = () => {
  const server = new McpServer({ name: "notes", version: "1.0.0" });
  server.registerTool(
    "write_note",
    { description: "Writes a note", inputSchema: z.object({ words: z.string() }) },
    ({ words }) => {
      notes.push(words);
      return text(`written: ${words}`);
    },
  );
  server.registerTool(
    "read_notes",
    { description: "Reads every note", annotations: { readOnlyHint: true } },
    () => text(`notes: ${notes.join(", ")}`),
  );
  server.registerTool(
    "burn_notes",
    { description: "Burns every note", annotations: { destructiveHint: true } },
    () => text(`burnt: ${notes.splice(0).join(", ")}`),
  );
  server.registerTool(
    "await_nod",
    { description: "Counts aloud until somebody nods", annotations: { readOnlyHint: true } },
    async (ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken;
      const before = nods;
      for (let progress = 1; progress <= 100; progress += 1) {
        if (progressToken !== undefined) {
          await ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress } });
        }
        await pause(300);
        if (nods > before) return text("somebody nodded");
      }
      throw new Error("nobody nodded");
    },
  );
  server.registerTool("nod", { description: "Nods", annotations: { readOnlyHint: true } }, () => {
    nods += 1;
    return text("nodded");
  });
  server.registerTool(
    "show_headers",
    { description: "Shows the headers of this request", annotations: { readOnlyHint: true } },
    (ctx) => text(JSON.stringify(Object.fromEntries(ctx.http?.req?.headers ?? []))),
  );
  return server;
};

if (process.argv[2] === "--stdio") {
  serveStdio(noteBook);
} else {
  listen(createMcpHandler(noteBook), Number(process.argv[2] ?? 0));
}
