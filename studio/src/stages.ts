// The stations of a job as a list: what is done, what is going on, what it took.

import { el, setText } from "./dom";
import {
  type Delivery, isOver, type JobView, type Progress, seconds, type Stage, STAGE_WORDS, STAGES, STATUS_WORDS, stepWords,
} from "./job";
import type { JobTrack } from "./job_track";

type State = "ahead" | "now" | "done" | "failed" | "cancelled" | "skipped";

interface Station {
  state: State;
  detail: string;
  /** 0 to 1 where there is something to count. */
  share: number | null;
}

const STATE_WORDS: Record<State, string> = {
  ahead: "to come", now: "going on", done: "done", failed: "failed", cancelled: "cancelled", skipped: "not needed",
};

export class Stages {
  readonly element = el("section", { class: "panel stages", "aria-labelledby": "stages-title" });
  private readonly time = el("p", { class: "stage-time" });
  private readonly notice = el("p", { class: "notice", hidden: true });
  private readonly list = el("ol", { class: "stage-list" });
  private readonly rows = new Map<Stage, { row: HTMLElement; detail: HTMLElement; bar: HTMLElement; state: HTMLElement }>();

  constructor() {
    for (const stage of STAGES) this.list.append(this.row(stage));
    const heading = el("header", {}, el("h2", { id: "stages-title" }, "Stages"), this.time);
    this.element.append(heading, this.notice, this.list);
    this.render(null);
  }

  render(track: JobTrack | null): void {
    for (const stage of STAGES) this.show(stage, track ? stationOf(track, stage) : { state: "ahead", detail: "", share: null });
    this.showConnection(track);
    this.tick(track);
  }

  /** Moves the clock on. */
  tick(track: JobTrack | null): void {
    setText(this.time, track?.view ? timeWords(track.view) : "");
  }

  private showConnection(track: JobTrack | null): void {
    const lost = track?.connection.kind === "lost" ? track.connection : null;
    this.notice.hidden = !lost;
    if (lost) setText(this.notice, `Connection lost. Trying again in ${lost.retryInS} s; the job goes on without this page.`);
  }

  private row(stage: Stage): HTMLElement {
    const detail = el("span", { class: "stage-detail" });
    const bar = el("span", { class: "stage-bar", "aria-hidden": "true" }, el("i", {}));
    const state = el("span", { class: "visually-hidden" });
    const row = el("li", { "data-stage": stage }, el("span", { class: "stage-dot", "aria-hidden": "true" }), el("span", { class: "stage-name" }, STAGE_WORDS[stage].name), state, detail, bar);
    this.rows.set(stage, { row, detail, bar, state });
    return row;
  }

  private show(stage: Stage, station: Station): void {
    const { row, detail, bar, state } = this.rows.get(stage)!;
    row.dataset["state"] = station.state;
    if (station.state === "now") row.setAttribute("aria-current", "step");
    else row.removeAttribute("aria-current");
    setText(state, STATE_WORDS[station.state]);
    setText(detail, station.detail);
    bar.hidden = station.share === null;
    if (station.share !== null) (bar.firstElementChild as HTMLElement).style.transform = `scaleX(${station.share})`;
  }
}

/** What a screen reader is told when something changes; the same text is not told twice. */
export function spoken(track: JobTrack): string {
  const view = track.view;
  if (track.connection.kind === "lost") return "Connection lost. Trying again.";
  if (!view) return "";
  if (view.status === "succeeded") return `${view.asset_id}: the mesh is ready.`;
  if (view.status === "failed") return `${view.asset_id} failed: ${view.error?.title ?? ""}. ${view.error?.detail ?? ""}`;
  if (view.status === "cancelled") return `${view.asset_id} was cancelled.`;
  return `${view.asset_id}: ${STAGE_WORDS[track.stage].name}.`;
}

function stationOf(track: JobTrack, stage: Stage): Station {
  const view = track.view;
  if (!view) return { state: "ahead", detail: "", share: null };
  if (stage === "deliver") return delivery(view);
  if (view.status === "succeeded") return { state: "done", detail: took(view, stage), share: null };
  const ahead = STAGES.indexOf(stage) - STAGES.indexOf(track.stage);
  if (ahead < 0) return { state: "done", detail: took(view, stage), share: null };
  if (ahead > 0) return { state: isOver(view.status) ? "skipped" : "ahead", detail: "", share: null };
  if (view.status === "failed" || view.status === "cancelled") return { state: view.status, detail: STATUS_WORDS[view.status].toLowerCase(), share: null };
  return current(track, view, stage);
}

function current(track: JobTrack, view: JobView, stage: Stage): Station {
  if (stage === "queue") {
    const position = view.queue_position ?? track.accepted?.queue_position;
    return { state: "now", detail: position ? `position ${position}` : "waiting", share: null };
  }
  const live: Progress | null = track.live?.stage === stage ? track.live : null;
  const isCounted = stage === "denoise" || stage === "decode";
  const share = live && isCounted ? Math.min(1, live.done / Math.max(1, live.total)) : null;
  return { state: "now", detail: (live && stepWords(live)) || STAGE_WORDS[stage].does, share };
}

function took(view: JobView, stage: Stage): string {
  const value = view.timings_s[stage];
  return value === undefined ? "" : value < 0.05 ? "< 0.1 s" : seconds(value);
}

function delivery(view: JobView): Station {
  if (!isOver(view.status)) return { state: "ahead", detail: "", share: null };
  const last = [...view.deliveries].sort((one, other) => other.attempt - one.attempt)[0];
  if (!last) return { state: "skipped", detail: "no webhook", share: null };
  return { state: deliveryState(last), detail: last.state === "dead" ? `given up at attempt ${last.attempt}` : `attempt ${last.attempt} ${last.state}`, share: null };
}

function deliveryState({ state }: Delivery): State {
  if (state === "accepted") return "done";
  return state === "dead" ? "failed" : "now";
}

function timeWords(view: JobView): string {
  const until = view.ended_at ? Date.parse(view.ended_at) : Date.now();
  const elapsed = Math.max(0, (until - Date.parse(view.created_at)) / 1000);
  if (isOver(view.status)) return `${STATUS_WORDS[view.status].toLowerCase()} after ${seconds(elapsed)}`;
  const left = leftS(view, elapsed);
  return left === null ? seconds(elapsed) : `${seconds(elapsed)}, about ${seconds(Math.max(1, left), 0)} left`;
}

/** Seconds that the job still takes: as the service says, else from how far it is. */
function leftS(view: JobView, elapsedS: number): number | null {
  if (view.eta_s != null) return view.eta_s;
  return view.progress >= 0.15 ? (elapsedS * (1 - view.progress)) / view.progress : null;
}
