// The vocabulary of the API as the page reads it, and the words that people read for it.

import type { components } from "./api_schema";

type Schemas = components["schemas"];

export type Accepted = Schemas["Accepted"];
export type Artifact = Schemas["ArtifactFacts"];
export type Delivery = Schemas["DeliveryAttempt"];
export type Format = Artifact["format"];
export type JobError = Schemas["JobFailure"];
export type JobView = Schemas["JobView"];
export type JobSummary = Schemas["JobSummaryView"];
export type Status = Schemas["JobStatus"];
export type Units = Artifact["units"];
export type Stage = "queue" | "download" | "cutout" | "denoise" | "decode" | "finish" | "deliver";

export interface Progress {
  stage: Stage;
  done: number;
  total: number;
}

export const FORMATS: Format[] = ["stl", "3mf", "glb", "obj", "ply"];
export const STAGES: Stage[] = ["queue", "download", "cutout", "denoise", "decode", "finish", "deliver"];

/** What a stage is called, and what it does. */
export const STAGE_WORDS: Record<Stage, { name: string; does: string }> = {
  queue: { name: "Queue", does: "waits for a worker" },
  download: { name: "Download", does: "fetches the picture" },
  cutout: { name: "Cut-out", does: "takes the background away" },
  denoise: { name: "Denoise", does: "from noise to shape" },
  decode: { name: "Octree", does: "finds the surface" },
  finish: { name: "Finish", does: "cleans, checks, writes the file" },
  deliver: { name: "Deliver", does: "brings it to the webhook" },
};

export const STATUS_WORDS: Record<Status, string> = {
  queued: "Queued",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
};

export function isOver(status: Status): boolean {
  return status === "succeeded" || status === "failed" || status === "cancelled";
}

/** True while the outcome is still on its way to the webhook. */
export function isDelivering(job: JobView): boolean {
  return job.deliveries.some((one) => one.state === "waiting" || one.state === "sending");
}

/** `12 of 50` of a stage in words; empty where there is nothing to count. */
export function stepWords({ stage, done, total }: Progress): string {
  if (stage === "denoise") return done > 0 ? `step ${done} of ${total}` : "begins";
  if (stage === "decode") return `level ${done} of ${total}`;
  return "";
}

export function seconds(value: number, digits = 1): string {
  if (value < 10) return `${value.toFixed(digits)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  return `${Math.floor(value / 60)} min ${String(Math.round(value % 60)).padStart(2, "0")} s`;
}

export function bytes(value: number): string {
  if (value < 1e6) return `${number(Math.max(1, Math.round(value / 1e3)))} kB`;
  return `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} MB`;
}

/** With thin spaces between thousands, four digits at most after the point. */
export function number(value: number, digits = 2): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: digits }).replaceAll(",", "\u202f");
}

/** How long ago a moment was. */
export function ago(moment: string): string {
  const passed = (Date.now() - Date.parse(moment)) / 1000;
  if (passed < 45) return "now";
  if (passed < 3600) return `${Math.round(passed / 60)} min ago`;
  if (passed < 86_400) return `${Math.round(passed / 3600)} h ago`;
  return `${Math.round(passed / 86_400)} d ago`;
}

/** True for the models that are there to try the service, not to model a photograph. */
export function demoWords(modelId: string | null | undefined): string | null {
  if (modelId === "stand-in") return "Stand-in model: every picture becomes the same sphere. It is there to try the service.";
  if (modelId?.startsWith("ai-engine-tiny")) {
    return "Embedded demo model: it knows eighteen families of simple shapes. A photograph becomes a plausible lump, not the object.";
  }
  return null;
}
