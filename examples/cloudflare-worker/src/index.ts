/**
 * Sends pictures to AI Engine and keeps the meshes that come back in R2.
 *
 *     POST /generate   a caller's job goes to the service, with this Worker as its webhook
 *     POST /webhook    the service tells how the job ended, and brings the mesh
 */
import type { Env } from "./env";
import { receive } from "./receive";
import { submit } from "./submit";

export default {
  async fetch(request, env): Promise<Response> {
    const route = `${request.method} ${new URL(request.url).pathname}`;
    if (route === "POST /generate") return submit(request, env);
    if (route === "POST /webhook") return receive(request, env);
    return new Response("no such route\n", { status: 404 });
  },
} satisfies ExportedHandler<Env>;
