// Drives @mcpjam/sdk, which judges a resource server and its authorization server together.
import { OAuthConformanceTest } from "@mcpjam/sdk";

import { hear, run, say } from "../dialogue.mjs";

/** A fetch that reaches this machine only, whatever the servers announce. */
const loopback = async (url, init) => {
  const { hostname } = new URL(url);
  if (hostname !== "127.0.0.1") throw new Error(`the tester wants to go to ${hostname}`);
  return fetch(url, init);
};

/** The browser leg: the judge takes a person through the real pages and says where they were sent. */
const openUrl = async (url) => {
  say({ authorize: url });
  const callback = await hear("callback");
  // The tester waits for its callback itself; the answer is a page for the person.
  void loopback(callback).catch((error) => console.error(error));
};

await run(async (serverUrl, { flows, tool }) => {
  for (const flow of flows) {
    const result = await new OAuthConformanceTest({
      ...flow,
      serverUrl: serverUrl.href,
      auth: { mode: "interactive", openUrl },
      fetchFn: loopback,
      oauthConformanceChecks: true,
      verification: { listTools: true, callTool: tool },
    }).run();
    say({
      step: "judged",
      ok: true,
      passed: result.passed,
      summary: result.summary,
      steps: result.steps.map(({ step, status, error }) => ({ step, status, error: error?.message })),
    });
  }
});
