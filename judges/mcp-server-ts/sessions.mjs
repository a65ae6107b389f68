// Serves the protocol's older versions with sessions, streams that can be resumed, and requests from server to client.
import { randomUUID } from "node:crypto";

import { WebStandardStreamableHTTPServerTransport, isLegacyRequest } from "@modelcontextprotocol/server";

/** Keeps every event of a session, so that a client that was cut off gets what it missed. */
class Events {
  kept = [];

  async storeEvent(streamId, message) {
    this.kept.push({ streamId, message });
    return String(this.kept.length - 1);
  }

  async getStreamIdForEventId(eventId) {
    return this.kept[eventId]?.streamId;
  }

  async replayEventsAfter(lastEventId, { send }) {
    const { streamId } = this.kept[lastEventId];
    for (let place = Number(lastEventId) + 1; place < this.kept.length; place += 1) {
      const event = this.kept[place];
      if (event.streamId === streamId) await send(String(place), event.message);
    }
    return streamId;
  }
}

/** A handler that gives `modern` what belongs to it, and everything older a session with a server of its own. */
export const withSessions = (factory, modern) => {
  const sessions = new Map();
  return {
    fetch: async (request) => {
      if (!(await isLegacyRequest(request))) return modern.fetch(request);
      const id = request.headers.get("mcp-session-id");
      if (id !== null) {
        const transport = sessions.get(id);
        return transport === undefined ? new Response("no such session", { status: 404 }) : transport.handleRequest(request);
      }
      const transport = new WebStandardStreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (sessionId) => sessions.set(sessionId, transport),
        onsessionclosed: (sessionId) => sessions.delete(sessionId),
        eventStore: new Events(),
        retryInterval: 500,
      });
      await factory({ era: "legacy" }).connect(transport);
      return transport.handleRequest(request);
    },
  };
};
