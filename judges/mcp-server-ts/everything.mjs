// An MCP server that has what the `server` scenarios of the MCP conformance package ask for: without sessions (2026-07-28)
// and with them (2025-11-25), over HTTP or (`--stdio`) over its standard streams.
//
// Each scenario names the tools, resources and prompts that it calls; they are listed here in its order.
import { randomBytes } from "node:crypto";

import {
  McpServer,
  ResourceTemplate,
  acceptedContent,
  completable,
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
  inputResponse,
} from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import * as z from "zod";

import { listen } from "./listen.mjs";
import { withSessions } from "./sessions.mjs";

/** One red pixel. */
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
/** A WAV file without a sample. */
const WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const text = (words) => ({ content: [{ type: "text", text: words }] });
const image = { type: "image", data: PNG, mimeType: "image/png" };
const embedded = (uri, mimeType, words) => ({ type: "resource", resource: { uri, mimeType, text: words } });
const user = (content) => ({ role: "user", content });

const ask = (message, name, type) =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: "object", properties: { [name]: { type } }, required: [name] },
  });
const sample = (words, maxTokens) =>
  inputRequired.createMessage({ messages: [user({ type: "text", text: words })], maxTokens });

const states = createRequestStateCodec({ key: randomBytes(32) });
const capabilities = (ctx) => ctx.mcpReq.envelope?.["io.modelcontextprotocol/clientCapabilities"] ?? {};

const addTools = (server) => {
  const tool = (name, description, call) => server.registerTool(name, { description }, (ctx) => call(ctx));

  tool("test_simple_text", "Says a sentence", () => text("This is a simple text response for testing."));
  tool("test_image_content", "Shows a picture", () => ({ content: [image] }));
  tool("test_audio_content", "Plays nothing", () => ({
    content: [{ type: "audio", data: WAV, mimeType: "audio/wav" }],
  }));
  tool("test_embedded_resource", "Hands over a resource", () => ({
    content: [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")],
  }));
  tool("test_multiple_content_types", "Says, shows and hands over", () => ({
    content: [
      { type: "text", text: "Multiple content types test:" },
      image,
      embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
  }));
  tool("test_error_handling", "Fails", () => {
    throw new Error("This tool intentionally returns an error for testing");
  });
  tool("test_tool_with_progress", "Says how far it is", async (ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progress > 0) await pause(50);
      if (progressToken === undefined) continue;
      await ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total: 100 } });
    }
    return text("done");
  });

  // Statelessness.
  tool("test_missing_capability", "Needs a client that samples", (ctx) =>
    inputResponse(ctx.mcpReq.inputResponses, "sample").kind === "missing"
      ? inputRequired({ inputRequests: { sample: sample("Anything", 10) } })
      : text("the client samples"));
  tool("test_streaming_elicitation", "Asks in the middle of its work", (ctx) =>
    inputResponse(ctx.mcpReq.inputResponses, "answer").kind === "missing"
      ? inputRequired({ inputRequests: { answer: ask("Go on?", "ok", "boolean") } })
      : text("went on"));
  tool("test_logging_tool", "Logs while it works", async (ctx) => {
    await ctx.mcpReq.log("info", "working");
    return text("logged");
  });
  tool("test_trigger_tool_change", "Announces that the tools changed", () => {
    handler.notify.toolsChanged();
    return text("announced");
  });
  tool("test_trigger_prompt_change", "Announces that the prompts changed", () => {
    handler.notify.promptsChanged();
    return text("announced");
  });

  // Headers that repeat an argument.
  server.registerTool(
    "test_header_argument",
    {
      description: "Has an argument that stands in a header too",
      inputSchema: z.object({ region: z.string().meta({ "x-mcp-header": "Region" }) }),
    },
    ({ region }) => text(region),
  );

  server.registerTool(
    "json_schema_2020_12_tool",
    {
      description: "Has a schema with everything that JSON Schema 2020-12 brought",
      inputSchema: fromJsonSchema({
        $schema: "https://json-schema.org/draft/2020-12/schema",
        type: "object",
        $defs: {
          address: {
            $anchor: "addressDef",
            type: "object",
            properties: { street: { type: "string" }, city: { type: "string" } },
          },
        },
        properties: {
          name: { type: "string" },
          address: { $ref: "#/$defs/address" },
          contactMethod: { type: "string", enum: ["phone", "email"] },
          phone: { type: "string" },
          email: { type: "string" },
        },
        allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
        if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
        then: { required: ["phone"] },
        else: { required: ["email"] },
        additionalProperties: false,
      }),
    },
    ({ name }) => text(name ?? "nobody"),
  );

  // Input that the client gives in a second request.
  tool("test_input_required_result_elicitation", "Asks for a name", (ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, "user_name", z.object({ name: z.string() }));
    if (answer) return text(`Hello, ${answer.name}!`);
    return inputRequired({ inputRequests: { user_name: ask("What is your name?", "name", "string") } });
  });
  tool("test_input_required_result_sampling", "Asks the model", (ctx) => {
    const answer = inputResponse(ctx.mcpReq.inputResponses, "capital_question");
    if (answer.kind === "sampling") return text(answer.result.content.text);
    return inputRequired({ inputRequests: { capital_question: sample("What is the capital of France?", 100) } });
  });
  tool("test_input_required_result_list_roots", "Asks for the roots", (ctx) => {
    const answer = inputResponse(ctx.mcpReq.inputResponses, "client_roots");
    if (answer.kind === "roots") return text(answer.roots.map((root) => root.uri).join(" "));
    return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  });
  const confirming = (name) =>
    tool(name, "Asks for a confirmation and remembers that it asked", async (ctx) => {
      const hasAsked = ctx.mcpReq.requestState()?.asked === name;
      if (hasAsked && acceptedContent(ctx.mcpReq.inputResponses, "confirm")) return text("state-ok");
      return inputRequired({
        inputRequests: { confirm: ask("Please confirm", "ok", "boolean") },
        requestState: await states.mint({ asked: name }),
      });
    });
  confirming("test_input_required_result_request_state");
  tool("test_input_required_result_multiple_inputs", "Asks for three things at once", async (ctx) => {
    const given = ["user_name", "greeting", "client_roots"].map(
      (name) => inputResponse(ctx.mcpReq.inputResponses, name).kind,
    );
    if (!given.includes("missing")) return text(`got ${given.join(", ")}`);
    return inputRequired({
      inputRequests: {
        user_name: ask("What is your name?", "name", "string"),
        greeting: sample("Generate a greeting", 50),
        client_roots: inputRequired.listRoots(),
      },
      requestState: await states.mint({ round: 1 }),
    });
  });
  tool("test_input_required_result_multi_round", "Asks twice, one after the other", async (ctx) => {
    const state = ctx.mcpReq.requestState() ?? {};
    const answers = ctx.mcpReq.inputResponses;
    const color = acceptedContent(answers, "step2")?.color;
    if (state.name && color) return text(`${state.name} likes ${color}`);
    const name = state.name ?? acceptedContent(answers, "step1")?.name;
    if (name) {
      return inputRequired({
        inputRequests: { step2: ask("Step 2: What is your favorite color?", "color", "string") },
        requestState: await states.mint({ name }),
      });
    }
    return inputRequired({
      inputRequests: { step1: ask("Step 1: What is your name?", "name", "string") },
      requestState: await states.mint({ round: 1 }),
    });
  });
  confirming("test_input_required_result_tampered_state");
  tool("test_input_required_result_capabilities", "Asks for what the client can give", (ctx) => {
    const can = capabilities(ctx);
    const inputRequests = {
      ...(can.elicitation && { user_name: ask("What is your name?", "name", "string") }),
      ...(can.sampling && { greeting: sample("Generate a greeting", 50) }),
      ...(can.roots && { client_roots: inputRequired.listRoots() }),
    };
    if (Object.keys(inputRequests).length === 0) return text("the client can give nothing");
    return inputRequired({ inputRequests });
  });
};

const addResources = (server) => {
  server.registerResource(
    "static-text",
    "test://static-text",
    { description: "A sentence", mimeType: "text/plain" },
    (uri) => ({
      contents: [
        { uri: uri.href, mimeType: "text/plain", text: "This is the content of the static text resource." },
      ],
    }),
  );
  server.registerResource(
    "static-binary",
    "test://static-binary",
    { description: "A picture", mimeType: "image/png" },
    (uri) => ({ contents: [{ uri: uri.href, mimeType: "image/png", blob: PNG }] }),
  );
  server.registerResource(
    "template",
    new ResourceTemplate("test://template/{id}/data", { list: undefined }),
    { description: "Data by its number", mimeType: "application/json" },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: "application/json",
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
        },
      ],
    }),
  );
};

const addPrompts = (server) => {
  server.registerPrompt("test_simple_prompt", { description: "A sentence" }, () => ({
    messages: [user({ type: "text", text: "This is a simple prompt for testing." })],
  }));
  const places = ["paris", "park", "party"];
  const place = completable(z.string().describe("A place"), (typed) =>
    places.filter((name) => name.startsWith(typed)));
  server.registerPrompt(
    "test_prompt_with_arguments",
    { description: "A sentence with two gaps", argsSchema: z.object({ arg1: place, arg2: z.string() }) },
    ({ arg1, arg2 }) => ({
      messages: [user({ type: "text", text: `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'` })],
    }),
  );
  server.registerPrompt(
    "test_prompt_with_embedded_resource",
    { description: "Hands over a resource", argsSchema: z.object({ resourceUri: z.string() }) },
    ({ resourceUri }) => ({
      messages: [
        user(embedded(resourceUri, "text/plain", "Embedded resource content for testing.")),
        user({ type: "text", text: "Please process the embedded resource above." }),
      ],
    }),
  );
  server.registerPrompt("test_prompt_with_image", { description: "Shows a picture" }, () => ({
    messages: [user(image), user({ type: "text", text: "Please analyze the image above." })],
  }));
  server.registerPrompt("test_input_required_result_prompt", { description: "Asks for its context" }, (ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, "user_context");
    if (answer) return { messages: [user({ type: "text", text: `About ${answer.context}` })] };
    return inputRequired({
      inputRequests: { user_context: ask("What context should the prompt use?", "context", "string") },
    });
  });
};

/** What servers of the older versions ask their client in the middle of a call. */
const addQuestions = (server) => {
  const tool = (name, description, call) => server.registerTool(name, { description }, (ctx) => call(ctx));
  const elicit = async (ctx, message, properties, required = []) => {
    // `send` puts the question on the stream of the call; `elicitInput` may put it on another, which is not open yet.
    const { action, content } = await ctx.mcpReq.send({
      method: "elicitation/create",
      params: { message, requestedSchema: { type: "object", properties, required } },
    });
    return text(`Elicitation completed: action=${action}, content=${JSON.stringify(content)}`);
  };

  tool("test_tool_with_logging", "Logs what it does", async (ctx) => {
    for (const [place, line] of [
      "Tool execution started",
      "Tool processing data",
      "Tool execution completed",
    ].entries()) {
      if (place > 0) await pause(50);
      await ctx.mcpReq.log("info", line);
    }
    return text("logged three lines");
  });
  server.registerTool(
    "test_sampling",
    { description: "Asks the client's model", inputSchema: z.object({ prompt: z.string() }) },
    async ({ prompt }, ctx) => {
      const { content } = await ctx.mcpReq.send({
        method: "sampling/createMessage",
        params: { messages: [user({ type: "text", text: prompt })], maxTokens: 100 },
      });
      return text(`LLM response: ${content.text}`);
    },
  );
  server.registerTool(
    "test_elicitation",
    { description: "Asks the person", inputSchema: z.object({ message: z.string() }) },
    ({ message }, ctx) =>
      elicit(ctx, message, { username: { type: "string" }, email: { type: "string" } }, ["username", "email"]),
  );
  tool("test_elicitation_sep1034_defaults", "Asks the person, with an answer to everything", (ctx) =>
    elicit(ctx, "Please look over these values", {
      name: { type: "string", default: "John Doe" },
      age: { type: "integer", default: 30 },
      score: { type: "number", default: 95.5 },
      status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
      verified: { type: "boolean", default: true },
    }));
  const titled = (...pairs) => pairs.map(([value, title]) => ({ const: value, title }));
  tool("test_elicitation_sep1330_enums", "Asks the person to choose", (ctx) =>
    elicit(ctx, "Please choose", {
      untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
      titledSingle: {
        type: "string",
        oneOf: titled(["value1", "First Option"], ["value2", "Second Option"], ["value3", "Third Option"]),
      },
      legacyEnum: {
        type: "string",
        enum: ["opt1", "opt2", "opt3"],
        enumNames: ["Option One", "Option Two", "Option Three"],
      },
      untitledMulti: { type: "array", items: { type: "string", enum: ["option1", "option2", "option3"] } },
      titledMulti: {
        type: "array",
        items: { anyOf: titled(["value1", "First Choice"], ["value2", "Second Choice"], ["value3", "Third Choice"]) },
      },
    }));
  tool("test_reconnection", "Hangs up in the middle and goes on", async (ctx) => {
    ctx.http?.closeSSE?.();
    await pause(100);
    return text("came back");
  });
};

const everything = ({ era }) => {
  const capabilities = { logging: {}, ...(era === "legacy" && { resources: { subscribe: true } }) };
  const server = new McpServer(
    { name: "everything", version: "1.0.0" },
    { capabilities, requestState: { verify: states.verify } },
  );
  addTools(server);
  addResources(server);
  addPrompts(server);
  if (era === "legacy") {
    addQuestions(server);
    server.server.setRequestHandler("resources/subscribe", () => ({}));
    server.server.setRequestHandler("resources/unsubscribe", () => ({}));
  }
  return server;
};

const handler = createMcpHandler(everything, { legacy: "reject" });

if (process.argv[2] === "--stdio") {
  serveStdio(everything);
} else {
  listen(withSessions(everything, handler), Number(process.argv[2] ?? 0));
}
