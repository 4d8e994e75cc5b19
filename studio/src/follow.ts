// A job's events as they happen, over a connection that may break: read by fetch, so that the key can go along as a
// header, and taken up again after the last event that was seen.

import { type Client, Problem } from "./api";
import type { JobView, Progress } from "./job";

const FIRST_RETRY_S = 1;
const LONGEST_RETRY_S = 8;
/** The service sends a comment every 15 s; after this long without a byte the connection is dead. */
const SILENCE_S = 40;

export interface Followed {
  progress(told: Progress): void;
  done(job: JobView): void;
  /** The connection broke; the next try comes in so many seconds. */
  lost(retryInS: number): void;
  back(): void;
  /** The service answered, and will not tell of this job. */
  refused(problem: Problem): void;
}

interface ServerEvent {
  id: string | null;
  event: string;
  data: string;
}

/** Tells `told` of the job until it is over, refused, or `signal` is aborted. */
export async function follow(client: Client, jobId: string, told: Followed, signal: AbortSignal): Promise<void> {
  let lastEventId: string | null = null;
  let retryS = FIRST_RETRY_S;
  let isLost = false;
  while (!signal.aborted) {
    try {
      for await (const event of connection(client, jobId, lastEventId, signal, connected)) {
        if (event.id !== null) lastEventId = event.id;
        if (event.event === "done") return told.done(JSON.parse(event.data) as JobView);
        if (event.event === "progress") told.progress(JSON.parse(event.data) as Progress);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status < 500 && error.status !== 429) return told.refused(error);
    }
    if (signal.aborted) return;
    isLost = true;
    told.lost(retryS);
    await pause(retryS, signal);
    retryS = Math.min(LONGEST_RETRY_S, retryS * 2);
  }

  function connected(): void {
    retryS = FIRST_RETRY_S;
    if (isLost) told.back();
    isLost = false;
  }
}

async function* connection(
  client: Client,
  jobId: string,
  lastEventId: string | null,
  signal: AbortSignal,
  connected: () => void,
): AsyncGenerator<ServerEvent> {
  const own = new AbortController();
  const stop = (): void => own.abort();
  signal.addEventListener("abort", stop);
  let silence = setTimeout(stop, SILENCE_S * 1000);
  try {
    const answer = await client.events(jobId, lastEventId, own.signal);
    connected();
    for await (const chunk of chunks(answer)) {
      clearTimeout(silence);
      silence = setTimeout(stop, SILENCE_S * 1000);
      yield* chunk;
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", stop);
    own.abort();
  }
}

/** The whole events in each piece of the body that arrives. */
async function* chunks(answer: Response): AsyncGenerator<ServerEvent[]> {
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop() ?? "";
    yield blocks.map(parsed).filter((event) => event.data !== "");
  }
}

function parsed(block: string): ServerEvent {
  const event: ServerEvent = { id: null, event: "message", data: "" };
  for (const line of block.split("\n")) {
    const [name, ...value] = line.split(":");
    const text = value.join(":").replace(/^ /, "");
    if (name === "id") event.id = text;
    if (name === "event") event.event = text;
    if (name === "data") event.data += event.data ? `\n${text}` : text;
  }
  return event;
}

/** Waits, but not past the moment that the network comes back. */
function pause(lengthS: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, lengthS * 1000);
    function end(): void {
      clearTimeout(timer);
      window.removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    }
    window.addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
