// How a driver talks to the judge that started it: one JSON object a line.
//
// Out: {"authorize": url}            the library wants a browser to go there
//      {"step": name, "ok": true, …} something was done, with what was learnt
//      {"step": name, "ok": false, "error": …}
// In:  {"callback": url}             where the browser was sent at the end
//      {"revoked": true}             the tokens are revoked now
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Writes one line to the judge. */
export const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** Reads the judge's next line and returns its member of this name. */
export const hear = async (name) => {
  const { value, done } = await lines.next();
  if (done) throw new Error(`the judge left instead of saying "${name}"`);
  const message = JSON.parse(value);
  if (!(name in message)) throw new Error(`the judge said ${value} instead of "${name}"`);
  return message[name];
};

/** Runs the driver and turns whatever it throws into a last line. */
export const run = async (drive) => {
  // Libraries warn on stdout; the judge reads only JSON there.
  console.log = console.warn = console.info = console.error;
  const [serverUrl, options] = process.argv.slice(2);
  try {
    await drive(new URL(serverUrl), JSON.parse(options));
  } catch (error) {
    const cause = error?.cause ? ` (${error.cause})` : "";
    say({ step: "failed", ok: false, error: `${error?.name}: ${error?.message}${cause}` });
    console.error(error);
    process.exitCode = 1;
  }
  // A library may keep a stream open that would hold the process back.
  process.stdout.write("", () => process.exit());
};
