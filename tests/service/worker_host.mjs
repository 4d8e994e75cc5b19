// Runs one bundled Worker on the real Workers runtime, with an R2 bucket of its own, and lets a test look into it.
//
//     node worker_host.mjs FOLDER SCRIPT COMPATIBILITY_DATE BINDINGS_JSON
//
// FOLDER has node_modules. Writes {"url"} when the Worker listens, then one line for each line of standard input:
// {"put": key, "base64", "contentType"} or {"get": key}. Ends with its standard input.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, scriptPath, compatibilityDate, bindings] = process.argv.slice(2);
const { Log, LogLevel, Miniflare } = createRequire(`${folder}/package.json`)("miniflare");

const runtime = new Miniflare({
  modules: true,
  scriptPath,
  compatibilityDate,
  bindings: JSON.parse(bindings),
  r2Buckets: ["BUCKET"],
  host: "127.0.0.1",
  port: 0,
  cf: false,
  log: new Log(LogLevel.ERROR),
});

const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
tell({ url: (await runtime.ready).origin });
const bucket = await runtime.getR2Bucket("BUCKET");

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if (asked.put) {
    const httpMetadata = { contentType: asked.contentType };
    await bucket.put(asked.put, Uint8Array.from(Buffer.from(asked.base64, "base64")), { httpMetadata });
    tell({});
  } else {
    const found = await bucket.get(asked.get);
    tell(found && (await described(found)));
  }
}
await runtime.dispose();

async function described(object) {
  const { size, version, httpMetadata, customMetadata } = object;
  const content = Buffer.from(await object.arrayBuffer());
  const sha256 = createHash("sha256").update(content).digest("hex");
  const text = size < 10_000 ? content.toString("latin1") : null;
  return { size, version, sha256, text, contentType: httpMetadata?.contentType, customMetadata };
}
