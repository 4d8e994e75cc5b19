// One job as the page knows it: its record, its live progress, its cut-out and its mesh, kept up to date.

import { type Client, Problem } from "./api";
import { follow } from "./follow";
import { type Accepted, isDelivering, isOver, type JobView, type Progress, type Stage, STAGES } from "./job";
import { namesOf, type View } from "./views";

const LOOK_AGAIN_S = 2;
const LONGEST_LOOK_S = 15;

export type Connection = { kind: "live" } | { kind: "lost"; retryInS: number } | { kind: "refused"; words: string };

export class JobTrack {
  view: JobView | null = null;
  live: Progress | null = null;
  connection: Connection = { kind: "live" };
  /** An object URL of the cut-out, as soon as it exists. */
  cutoutUrl: string | null = null;
  cutout: Blob | null = null;
  /** Of a job of several views: the cut-out of each, once the job is over. */
  views: { view: View; blob: Blob; url: string }[] = [];
  mesh: ArrayBuffer | null = null;
  /** Why the mesh is not here though the job succeeded. */
  meshWords: string | null = null;
  onChange: () => void = () => {};

  private readonly stopping = new AbortController();
  private isFetchingCutout = false;

  constructor(private readonly client: Client, readonly id: string, readonly accepted: Accepted | null = null) {}

  /** Follows the job to its end, and its delivery after that. */
  async start(): Promise<void> {
    try {
      this.view = await this.client.job(this.id);
    } catch (error) {
      if (error instanceof Problem) return this.refused(error);
    }
    this.onChange();
    // Where a cancelled job was, only its events tell.
    if (this.view && isOver(this.view.status) && this.view.status !== "cancelled") return this.over(this.view);
    void this.lookNowAndThen();
    const told = {
      progress: (progress: Progress) => this.progressed(progress),
      done: (view: JobView) => void this.over(view),
      lost: (retryInS: number) => this.connected({ kind: "lost", retryInS }),
      back: () => this.connected({ kind: "live" }),
      refused: (problem: Problem) => this.refused(problem),
    };
    await follow(this.client, this.id, told, this.stopping.signal);
  }

  stop(): void {
    this.stopping.abort();
    this.onChange = () => {};
    for (const url of [this.cutoutUrl, ...this.views.map((one) => one.url)]) if (url) URL.revokeObjectURL(url);
  }

  async cancel(): Promise<void> {
    this.view = await this.client.cancel(this.id);
    this.onChange();
  }

  /** Reads the record again, and goes on reading while a delivery is under way. */
  async watchDelivery(): Promise<void> {
    let pauseS = LOOK_AGAIN_S / 4;
    do {
      await this.pause(pauseS);
      if (this.stopping.signal.aborted) return;
      await this.look();
      pauseS = Math.min(LONGEST_LOOK_S, pauseS * 1.5);
    } while (this.view && isDelivering(this.view));
  }

  /** The stage it is in, or ended in. */
  get stage(): Stage {
    const { view, live } = this;
    // Of a cancelled job the record says only that it was.
    const isTold = view !== null && isOver(view.status) && !(view.status === "cancelled" && live);
    const known = isTold ? (view.error?.stage ?? view.stage) : (live?.stage ?? view?.stage);
    return STAGES.find((stage) => stage === known) ?? "queue";
  }

  private progressed(progress: Progress): void {
    this.live = progress;
    if (this.view?.status === "queued") this.view = { ...this.view, status: "running" };
    void this.fetchCutout();
    this.onChange();
  }

  private async over(view: JobView): Promise<void> {
    this.view = view;
    this.connection = { kind: "live" };
    this.onChange();
    await Promise.all([this.fetchCutout(), this.fetchViews(view), this.fetchMesh(view), this.watchDelivery()]);
  }

  private connected(connection: Connection): void {
    this.connection = connection;
    this.onChange();
  }

  private refused(problem: Problem): void {
    const words = problem.status === 404 ? "The service knows no job of this name, or it is another key's." : problem.detail;
    this.connected({ kind: "refused", words: words || problem.title });
  }

  /** True once the cut-out's stage is over, as far as this page saw. */
  private get hasCutout(): boolean {
    const reached = [this.live?.stage, this.view?.error?.stage].map((stage) => STAGES.indexOf(stage as Stage));
    return this.view?.status === "succeeded" || Math.max(...reached) > STAGES.indexOf("cutout");
  }

  private async fetchCutout(): Promise<void> {
    if (!this.hasCutout || this.cutout || this.isFetchingCutout) return;
    this.isFetchingCutout = true;
    try {
      this.cutout = await this.client.file(this.id, "cutout.png", this.stopping.signal);
      this.cutoutUrl = URL.createObjectURL(this.cutout);
      this.onChange();
    } catch {
      // Not there: the job ended before it, or the file is no longer kept.
    } finally {
      this.isFetchingCutout = false;
    }
  }

  private async fetchViews({ cutouts, kind }: JobView): Promise<void> {
    if (kind === "variant") return; // it has the first view's alone
    try {
      for (const view of namesOf(cutouts)) {
        const blob = await this.client.file(this.id, `cutout.png?view=${view}`, this.stopping.signal);
        this.views = [...this.views, { view, blob, url: URL.createObjectURL(blob) }];
      }
      this.onChange();
    } catch {
      // No longer kept.
    }
  }

  private async fetchMesh(view: JobView): Promise<void> {
    if (!view.artifacts.some((one) => one.format === "stl")) return;
    try {
      this.mesh = await (await this.client.file(this.id, "mesh?format=stl", this.stopping.signal)).arrayBuffer();
    } catch (error) {
      this.meshWords = error instanceof Problem && error.status === 410 ? "The file is no longer kept." : String((error as Error).message);
    }
    this.onChange();
  }

  /** Queue position and overall progress are no events: they are asked for. */
  private async lookNowAndThen(): Promise<void> {
    while (!this.stopping.signal.aborted && !(this.view && isOver(this.view.status))) {
      await this.pause(LOOK_AGAIN_S);
      if (this.connection.kind === "live" && !(this.view && isOver(this.view.status))) await this.look();
    }
  }

  private async look(): Promise<void> {
    try {
      const seen = await this.client.job(this.id);
      const isEndKnown = this.view !== null && isOver(this.view.status);
      // The end of the job is told by its event stream; a look that overtook it would hide the files' arrival.
      if (!isOver(seen.status) || isEndKnown) this.view = seen;
      this.onChange();
    } catch {
      // The event stream says when the service is lost.
    }
  }

  private pause(lengthS: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, lengthS * 1000);
      this.stopping.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
}
