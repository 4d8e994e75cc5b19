/** A caller's job on its way to the service. */
import type { Env } from "./env";

/** The fields of the service's POST /generate-3d, with `picture` where the picture lies in R2. */
interface Submission {
  /** Key of a picture in the bucket, in place of `image_url`. */
  picture?: string;
  [field: string]: unknown;
}

/** The service's own answer: 202 with the job's id, or a problem that says what is wrong. */
export async function submit(request: Request, env: Env): Promise<Response> {
  if (!(await isCaller(request, env))) return new Response("wrong or no token\n", { status: 401 });
  const submission = await request.json<Submission>().catch(() => null);
  if (submission === null) return new Response("the body must be JSON\n", { status: 400 });
  const { picture, ...job } = submission;
  // The form that streams into R2; a job may ask for another.
  const form = formOf({ webhook_format: "binary", ...job, webhook_url: new URL("/webhook", request.url).href });
  if (picture !== undefined) {
    const stored = await env.BUCKET.get(picture);
    if (stored === null) return new Response("no such picture\n", { status: 404 });
    form.set("image", await stored.blob(), "image");
  }
  const engine = new URL("/generate-3d", env.ENGINE_URL);
  const answer = await fetch(engine, { method: "POST", headers: headers(request, env), body: form });
  const reply = new Response(answer.body, answer);
  reply.headers.delete("Location"); // leads to the service's own routes, not to ours
  return reply;
}

function formOf(fields: Record<string, unknown>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, isObject(value) ? JSON.stringify(value) : String(value));
  return form;
}

/** `image_urls` and `upload_headers`: parts of a form as JSON. */
function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function headers(request: Request, env: Env): Headers {
  const sent = new Headers();
  if (env.ENGINE_API_KEY) sent.set("Authorization", `Bearer ${env.ENGINE_API_KEY}`);
  const key = request.headers.get("Idempotency-Key");
  if (key) sent.set("Idempotency-Key", key);
  return sent;
}

/** Compared by digest, in the same time whatever is wrong with it. */
async function isCaller(request: Request, env: Env): Promise<boolean> {
  if (!env.CALLER_TOKEN) return false;
  const given = request.headers.get("Authorization") ?? "";
  const [a, b] = await Promise.all([given, `Bearer ${env.CALLER_TOKEN}`].map(digest));
  return crypto.subtle.timingSafeEqual(a!, b!);
}

function digest(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
