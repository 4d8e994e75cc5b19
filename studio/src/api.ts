// The service over HTTP: the key goes along as a header, refusals come back as Problem, silence as Unreachable.

import type { components } from "./api_schema";
import type { Accepted, JobView, Status } from "./job";
import { partsOf, type Picture } from "./picture";

export interface FieldProblem {
  field: string;
  detail: string;
}

/** The service refused, and said why (problem+json). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail: string,
    readonly fields: FieldProblem[] = [],
    readonly retryAfterS: number | null = null,
  ) {
    super(detail || title);
  }
}

/** Nobody answered. */
export class Unreachable extends Error {
  constructor() {
    super("The service can't be reached.");
  }
}

export type Health = components["schemas"]["Health"];
export type CutOut = components["schemas"]["CutOutView"];
export type JobPage = components["schemas"]["JobList"];
export type DeliveryPage = components["schemas"]["DeliveryList"];
export type Operations = components["schemas"]["Operations"];
export type Redelivered = components["schemas"]["Redelivered"];
type Readiness = components["schemas"]["Readiness"];

export interface JobFilter {
  session_id?: string;
  status?: Status;
  variant_of?: string;
  limit?: number;
  cursor?: string;
}

export class Client {
  /** Called when a key is missing or wrong. */
  onKeyNeeded: (problem: Problem) => void = () => {};

  private readonly askedWith = new WeakMap<Response, string | null>();

  constructor(private readonly key: () => string | null) {}

  /** Sends a job: the picture goes along as a file, or the service fetches it from its URL. */
  async submit(options: Record<string, unknown>, picture: Picture): Promise<Accepted> {
    if (picture.kind === "url") return this.json("POST", "/generate-3d", { ...options, image_url: picture.url });
    const form = new FormData();
    for (const [name, value] of Object.entries(options)) form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
    for (const [part, { file, name }] of partsOf(picture)) form.append(part, file, name);
    const answer = await this.checked(await this.send("POST", "/generate-3d", { body: form }));
    return (await answer.json()) as Accepted;
  }

  /** Sends a job that begins with a cut-out that was accepted. */
  begin(options: Record<string, unknown>, { cut_out_id }: CutOut): Promise<Accepted> {
    const { remove_background, matting_model, ...rest } = options;
    return this.json("POST", "/generate-3d", { ...rest, cut_out_id });
  }

  /** A picture's cut-out, before any job; by the service's own remover where none is named. */
  async cutOut(picture: Picture, mattingModel: string): Promise<CutOut> {
    const form = new FormData();
    if (picture.kind === "url") form.append("image_url", picture.url);
    else for (const [part, { file, name }] of partsOf(picture)) form.append(part, file, name);
    if (mattingModel) {
      form.append("matting_model", mattingModel);
      form.append("remove_background", "always");
    }
    const answer = await this.checked(await this.send("POST", "/cut-outs", { body: form }));
    return (await answer.json()) as CutOut;
  }

  /** The shape models that are served; none while the service starts. */
  async models(): Promise<components["schemas"]["ServedModels"]> {
    try {
      return await this.json("GET", "/models");
    } catch {
      return { default: null, models: [] };
    }
  }

  mattingModels(): Promise<components["schemas"]["MattingModels"]> {
    return this.json("GET", "/matting-models");
  }

  /** The bytes at one of the service's own paths. */
  async blob(path: string): Promise<Blob> {
    return (await this.checked(await this.send("GET", path))).blob();
  }

  job(id: string): Promise<JobView> {
    return this.json("GET", `/jobs/${encodeURIComponent(id)}`);
  }

  jobs(filter: JobFilter): Promise<JobPage> {
    const wanted = Object.entries(filter).filter(([, value]) => value !== undefined && value !== "");
    return this.json("GET", `/jobs?${new URLSearchParams(wanted.map(([name, value]) => [name, String(value)]))}`);
  }

  cancel(id: string): Promise<JobView> {
    return this.json("DELETE", `/jobs/${encodeURIComponent(id)}`);
  }

  retry(id: string): Promise<Accepted> {
    return this.json("POST", `/jobs/${encodeURIComponent(id)}/retry`);
  }

  /** Finishes the job's mesh again, as a new job. */
  vary(id: string, fields: Record<string, unknown>): Promise<Accepted> {
    return this.json("POST", `/jobs/${encodeURIComponent(id)}/variants`, fields);
  }

  async redeliver(id: string): Promise<void> {
    await this.json("POST", `/jobs/${encodeURIComponent(id)}/redeliver`);
  }

  operations(): Promise<Operations> {
    return this.json("GET", "/operations");
  }

  deadDeliveries(limit: number): Promise<DeliveryPage> {
    return this.json("GET", `/deliveries?status=dead&limit=${limit}`);
  }

  /** Sends the newest hundred dead deliveries again. */
  redeliverDead(): Promise<Redelivered> {
    return this.json("POST", "/deliveries/redeliver", { status: "dead" });
  }

  health(): Promise<Health> {
    return this.json("GET", "/health");
  }

  /** `ready`, or why not, with how far the weights are read. */
  async readiness(): Promise<string> {
    const answer = await this.send("GET", "/readyz");
    const { status, progress } = (await answer.json()) as Readiness;
    return progress == null ? status : `${status} ${Math.floor(100 * progress)} %`;
  }

  openapi(): Promise<unknown> {
    return this.json("GET", "/openapi.json");
  }

  /** A file of a job: `mesh`, `cutout.png`, `preview.png`. */
  async file(id: string, name: string, signal?: AbortSignal): Promise<Blob> {
    const path = `/jobs/${encodeURIComponent(id)}/${name}`;
    const answer = await this.checked(await this.send("GET", path, signal ? { signal } : {}));
    try {
      return await answer.blob();
    } catch {
      throw new Unreachable();
    }
  }

  /** The open stream of a job's events, from the one after `lastEventId` on. */
  async events(id: string, lastEventId: string | null, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (lastEventId !== null) headers["Last-Event-ID"] = lastEventId;
    return this.checked(await this.send("GET", `/jobs/${encodeURIComponent(id)}/events`, { headers, signal }));
  }

  private async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init: RequestInit =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    const answer = await this.checked(await this.send(method, path, init));
    return (answer.status === 204 ? null : await answer.json()) as T;
  }

  private async send(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    const key = this.key();
    if (key) headers.set("Authorization", `Bearer ${key}`);
    try {
      const answer = await fetch(path, { ...init, method, headers, credentials: "same-origin" });
      this.askedWith.set(answer, key);
      return answer;
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Unreachable();
    }
  }

  private async checked(answer: Response): Promise<Response> {
    if (answer.ok) return answer;
    const problem = await problemOf(answer);
    // An answer to what was asked before the key was given says nothing of it.
    if (problem.status === 401 && this.askedWith.get(answer) === this.key()) this.onKeyNeeded(problem);
    throw problem;
  }
}

async function problemOf(answer: Response): Promise<Problem> {
  const told = (await answer.json().catch(() => ({}))) as {
    code?: string;
    title?: string;
    detail?: string;
    errors?: FieldProblem[];
  };
  const retryAfterS = Number(answer.headers.get("Retry-After")) || null;
  const title = told.title ?? `The service answered ${answer.status}`;
  return new Problem(answer.status, told.code ?? "unknown", title, told.detail ?? "", told.errors ?? [], retryAfterS);
}
