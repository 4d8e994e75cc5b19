// What a pane shows where there is no mesh to turn: nothing yet, a job under way with its cut-out, or why none came.

import { el, setText } from "./dom";
import { type JobError, STAGE_WORDS, STATUS_WORDS, stepWords } from "./job";
import type { JobTrack } from "./job_track";

interface Words {
  title: string;
  detail?: string;
  code?: string;
  isBad?: boolean;
  canRetry?: boolean;
}

const EMPTY: Words = { title: "No job yet", detail: "Drop a picture anywhere on this page, then generate. The mesh appears here." };

export class Cover {
  private readonly shape = el("div", { class: "empty-shape", "aria-hidden": "true" });
  private readonly cutout = el("img", { class: "cutout", alt: "The cut-out: what the model sees of the picture" });
  private readonly title = el("p", { class: "cover-title" });
  private readonly detail = el("p", { class: "cover-detail" });
  private readonly code = el("code", {});
  private readonly retry: HTMLButtonElement;
  readonly element: HTMLElement;

  constructor(retry: () => void) {
    this.retry = el("button", { type: "button", class: "solid", onclick: retry }, "Retry");
    this.element = el("div", { class: "pane-cover" }, this.shape, this.cutout, this.title, this.detail, this.code, this.retry);
  }

  /** Changes only what is other than before, so that the focus and the picture stay. */
  render(track: JobTrack | null): void {
    const words = track ? wordsOf(track) : EMPTY;
    const cutoutUrl = track?.cutoutUrl ?? null;
    this.shape.hidden = track !== null;
    this.cutout.hidden = cutoutUrl === null;
    if (cutoutUrl && this.cutout.src !== cutoutUrl) this.cutout.src = cutoutUrl;
    setText(this.title, words.title);
    setText(this.detail, words.detail ?? "");
    setText(this.code, words.code ?? "");
    this.title.classList.toggle("is-bad", words.isBad ?? false);
    this.retry.hidden = !words.canRetry;
  }
}

function wordsOf(track: JobTrack): Words {
  const view = track.view;
  if (track.connection.kind === "refused") return { title: "This job can’t be shown", detail: track.connection.words, isBad: true };
  if (track.connection.kind === "lost") return { title: "Connection lost", detail: "Trying again. The job goes on without this page." };
  if (!view) return { title: "Opening the job" };
  if (view.status === "failed" || view.status === "cancelled") {
    return ending(view.status, view.error ?? { title: STATUS_WORDS[view.status], detail: "", code: "" });
  }
  return view.status === "succeeded" ? meshless(track) : underWay(track);
}

function ending(status: "failed" | "cancelled", error: Pick<JobError, "title" | "detail" | "code">): Words {
  const detail = status === "failed" && error.detail !== error.title ? error.detail : "";
  return { title: error.title, detail, code: status === "failed" ? error.code : "", isBad: status === "failed", canRetry: true };
}

function underWay(track: JobTrack): Words {
  const stage = STAGE_WORDS[track.stage];
  const steps = track.live ? stepWords(track.live) : "";
  return { title: stage.name, detail: [stage.does, steps].filter(Boolean).join(" · ") };
}

function meshless(track: JobTrack): Words {
  const formats = (track.view?.artifacts ?? []).map((one) => one.format);
  if (track.meshWords) return { title: "The mesh can’t be shown", detail: track.meshWords };
  if (formats.length === 0 || formats.includes("stl")) return { title: "Loading the mesh" };
  const detail = `The viewer reads STL, and this job made ${formats.join(", ").toUpperCase()}. Download it, or choose STL under “Other formats” to look at the same mesh.`;
  return { title: "The mesh is ready", detail };
}
