// What the drivers of programs share: a browser that tells where it was sent, and a person's way back.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Neither a program nor a person needs longer than this, in milliseconds. */
const PATIENCE = 60_000;

/** Fails when `promise` has not settled in time. */
export const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${PATIENCE / 1000} s`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** Runs `use` with an empty folder that is gone afterwards. */
export const withFolder = async (use) => {
  const folder = await mkdtemp(join(tmpdir(), "authflow-judge-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** The browser of a program: started through `BROWSER`, it says only where it was sent. */
export class Browser {
  #urls = [];
  #waiting = [];

  static async open() {
    const browser = new Browser();
    browser.server = createServer((request, response) => {
      let url = "";
      request.setEncoding("utf8").on("data", (text) => { url += text; }).on("end", () => {
        response.end();
        const waiting = browser.#waiting.shift();
        if (waiting) waiting(url);
        else browser.#urls.push(url);
      });
    });
    await new Promise((resolve) => browser.server.listen(0, "127.0.0.1", resolve));
    return browser;
  }

  /** What a program must find in its environment to open this browser. */
  get environment() {
    const program = fileURLToPath(new URL("browser.mjs", import.meta.url));
    return { BROWSER: program, JUDGE_BROWSER: `http://127.0.0.1:${this.server.address().port}/` };
  }

  /** The URL that the program opens next, or has opened already. */
  next() {
    const url = this.#urls.shift();
    if (url !== undefined) return Promise.resolve(url);
    return within(new Promise((resolve) => this.#waiting.push(resolve)), "a URL for the browser");
  }

  /** Whether the program has opened a URL that nobody asked for yet. */
  get hasBeenOpened() {
    return this.#urls.length > 0;
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
  }
}

/** Goes where the authorization server sent the person: to the program's own listener. */
export const visit = async (callback) => {
  const response = await within(fetch(callback, { redirect: "manual" }), "the program's page");
  const page = await response.text();
  if (response.status >= 400) throw new Error(`the program's page says ${response.status}: ${page}`);
};

export const parameter = (url, name) => new URL(url).searchParams.get(name);

export const readJson = async (file) => JSON.parse(await readFile(file, "utf8"));

export const writeJson = (file, value) => writeFile(file, JSON.stringify(value), { mode: 0o600 });

/** The token with one letter changed. */
export const spoil = (token) => token.slice(0, 20) + (token[20] === "A" ? "B" : "A") + token.slice(21);
