/**
 * A delivery of the service on its way into R2.
 *
 *     meshes/{job_id}/{asset_id}.stl    the mesh, of a job that succeeded
 *     events/{webhook-id}.json          the event, of every job; written last, so it says that all is done
 *
 * The same delivery may come more than once. The event's object is how it is known again: nothing but R2 is needed,
 * and whoever dies half-way writes the same mesh once more.
 */
import type { Env } from "./env";
import type { Generation, GenerationEvent } from "./event";
import { BadSignature, verify } from "./signature";

interface Delivery {
  /** JSON, as it was signed. */
  event: string;
  mesh: ReadableStream | Blob | null;
}

/** 2xx: kept, don't send it again. 5xx: R2 failed, and the service tries again by its schedule. */
export async function receive(request: Request, env: Env): Promise<Response> {
  const delivery = await read(request);
  if (delivery === null) return answer(400, "there is no event in this request");
  try {
    const id = await verify(delivery.event, request.headers, env.WEBHOOK_SECRET);
    return answer(200, await keep(id, delivery, env.BUCKET));
  } catch (error) {
    if (error instanceof BadSignature) return answer(401, error.message);
    console.error("the delivery could not be kept", error);
    return answer(503, "not kept, send it again");
  } finally {
    // Who is cut off while still sending sees a broken connection in place of the answer.
    if (!request.bodyUsed) await request.body?.pipeTo(new WritableStream());
  }
}

/** The event and the mesh, in whichever form they come; a `binary` mesh is not read yet. */
async function read(request: Request): Promise<Delivery | null> {
  const event = request.headers.get("X-Generation-Event");
  if (event !== null) return { event, mesh: request.body };
  if (!request.headers.get("Content-Type")?.startsWith("multipart/form-data")) {
    return { event: await request.text(), mesh: null };
  }
  const form = await request.formData();
  const [part, file] = [form.get("event"), form.get("file")];
  return typeof part === "string" ? { event: part, mesh: file instanceof File ? file : null } : null;
}

async function keep(id: string, { event, mesh }: Delivery, bucket: R2Bucket): Promise<string> {
  const record = `events/${id}.json`;
  if (await bucket.head(record)) return "known";
  const { type, data } = JSON.parse(event) as GenerationEvent;
  if (type === "generation.succeeded") await keepMesh(data, mesh, bucket);
  // Failed and cancelled jobs leave their event too: its data.error says why.
  await bucket.put(record, event, {
    onlyIf: new Headers({ "If-None-Match": "*" }),
    httpMetadata: { contentType: "application/json" },
  });
  return "kept";
}

/** Keeps the mesh that came with the event, or else what its link leads to: it was signed, so it is to be trusted. */
async function keepMesh(data: Generation, mesh: Delivery["mesh"], bucket: R2Bucket): Promise<void> {
  const { artifact } = data;
  const file = mesh ?? (artifact?.url ? await linked(artifact.url) : null);
  if (!artifact || !file) return; // PUT to the job's upload_url
  await bucket.put(`meshes/${data.job_id}/${artifact.filename}`, file, {
    sha256: artifact.sha256, // R2 refuses a file that is another one
    httpMetadata: { contentType: artifact.media_type },
    customMetadata: { session_id: data.session_id, asset_id: data.asset_id },
  });
}

async function linked(url: string): Promise<ReadableStream | null> {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`the service answered ${reply.status} where the mesh should be`);
  return reply.body;
}

function answer(status: number, sentence: string): Response {
  return new Response(`${sentence}\n`, { status });
}
