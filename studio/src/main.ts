// Puts the page together: what is composed on the left, one or two jobs in the middle, what is known of them on the
// right, the jobs of late below.

import { Client } from "./api";
import { Composer, type Sent, type Shared } from "./composer";
import { Deliveries } from "./deliveries";
import { asked, Finish } from "./finish";
import { byId, copyText, el, saveFile, setText } from "./dom";
import { type Accepted, type Format, type JobView, type Status, STATUS_WORDS } from "./job";
import { JobTrack } from "./job_track";
import { Keyring } from "./keyring";
import { Pane } from "./pane";
import type { Picture } from "./picture";
import { Recent } from "./recent";
import { Report } from "./report";
import { ServiceState } from "./service_state";
import { spoken, Stages } from "./stages";
import { watchTheme } from "./theme";
import { Toolbar } from "./toolbar";
import type { Pose } from "./viewer";

const CLOCK_MS = 250;
const TITLE = "AI Engine Studio";

class Studio {
  private readonly keys = new Keyring();
  private readonly client = new Client(() => this.keys.key);
  private readonly service = new ServiceState(this.client);
  private readonly composer = new Composer(this.client, () => this.keys.key !== null);
  private readonly panes = [this.makePane("A"), this.makePane("B")] as const;
  private readonly toolbar = new Toolbar(byId("toolbar"), () => this.panes.forEach((pane) => pane.viewer?.home()));
  private readonly stages = new Stages();
  private readonly report = new Report();
  private readonly deliveries = new Deliveries(() => void this.redeliver());
  private readonly finish: Finish;
  private readonly recent: Recent;
  /** What the jobs that were sent from here were asked with. */
  private readonly sent = new Map<string, Sent>();
  private focused: Pane = this.panes[0];

  constructor() {
    this.recent = new Recent(this.client, { open: (id) => this.open(id, this.panes[0]), openBeside: (id) => this.openBeside(id) });
    this.finish = new Finish(this.client, { accepted: (accepted) => this.varied(accepted), open: (id) => this.openBeside(id) });
    this.client.onKeyNeeded = (problem) => this.keys.ask(problem);
    this.keys.onChange = () => this.reload();
    this.composer.onAccepted = (accepted, picture, isBeside) => this.accepted(accepted, picture, isBeside);
    this.composer.shared = () => this.shared();
    this.toolbar.onChange = (look) => this.panes.forEach((pane) => pane.apply(look));
    byId("panes").append(...this.panes.map((pane) => pane.element));
    byId("inspector").append(this.stages.element, this.report.element, this.finish.element, this.deliveries.element);
  }

  start(): void {
    watchTheme(() => this.panes.forEach((pane) => pane.viewer?.paint()));
    for (const button of document.querySelectorAll<HTMLElement>("[data-close]")) {
      button.addEventListener("click", () => button.closest("dialog")!.close());
    }
    byId("help-button").addEventListener("click", () => byId<HTMLDialogElement>("help-dialog").showModal());
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.openLinked());
    setInterval(() => this.stages.tick(this.focused.track), CLOCK_MS);
    this.openLinked();
    this.render();
    this.reload();
  }

  private reload(): void {
    void this.service.look();
    void this.composer.load();
    void this.finish.load();
    void this.recent.refresh();
    for (const pane of this.panes) if (pane.track?.connection.kind === "refused") this.open(pane.track.id, pane);
  }

  private makePane(name: "A" | "B"): Pane {
    const pane: Pane = new Pane(name, {
      close: () => this.close(pane),
      focus: () => this.focus(pane),
      turned: (pose) => this.turned(pane, pose),
      download: (button) => void this.download(pane, button),
      save: (url, filename) => void this.attempt(async () => saveFile(await this.client.blob(url), filename)),
      copyLink: (button) => void this.copyLink(pane, button),
      cancel: () => void this.attempt(() => pane.track!.cancel()),
      remake: (format) => void this.attempt(() => this.remake(pane, format)),
      retry: () => void this.attempt(async () => this.open((await this.client.retry(pane.track!.id)).job_id, pane)),
    });
    return pane;
  }

  private accepted(accepted: Accepted, sent: Sent, isBeside: boolean): void {
    this.sent.set(accepted.job_id, sent);
    const [a, b] = this.panes;
    if (!isBeside) this.close(b);
    this.open(accepted.job_id, isBeside ? b : a, accepted);
    void this.recent.refresh();
  }

  /** Opens a job in a pane, in place of what is there. */
  private open(id: string, pane: Pane, accepted: Accepted | null = null): void {
    const track = new JobTrack(this.client, id, accepted);
    let known: Status | null = null;
    track.onChange = () => {
      const status = track.view?.status ?? null;
      if (known !== null && status !== known) void Promise.all([this.recent.refresh(), this.finish.refresh()]);
      known = status;
      this.changed(pane);
    };
    pane.open(track);
    this.focus(pane);
    void track.start();
    this.remember();
    this.changed(pane);
    bringIntoView(pane.element);
  }

  private openBeside(id: string): void {
    const [a, b] = this.panes;
    this.open(id, a.track ? b : a);
  }

  /** Closes a pane; what was beside it moves up. */
  private close(pane: Pane): void {
    const [a, b] = this.panes;
    const moved = pane === a ? (b.track?.id ?? null) : null;
    if (pane === a) b.open(null);
    pane.open(null);
    this.focused = a;
    if (moved) this.open(moved, a);
    this.remember();
    this.render();
  }

  private focus(pane: Pane): void {
    if (this.focused === pane || !pane.track) return;
    this.focused = pane;
    this.render();
  }

  private changed(pane: Pane): void {
    const hadMesh = pane.viewer !== null;
    pane.render();
    if (!hadMesh && pane.viewer) {
      const other = this.panes.find((one) => one !== pane)?.viewer;
      if (other) pane.viewer.setPose(other.pose());
    }
    this.render();
    if (pane.track) setText(byId("spoken"), spoken(pane.track));
    const view = this.panes[0].track?.view;
    document.title = view ? `${view.asset_id}, ${STATUS_WORDS[view.status].toLowerCase()} · ${TITLE}` : TITLE;
  }

  private render(): void {
    const [a, b] = this.panes;
    const { track } = this.focused;
    b.element.hidden = b.track === null;
    byId("panes").classList.toggle("is-two", b.track !== null);
    for (const pane of this.panes) pane.element.classList.toggle("is-focused", b.track !== null && pane === this.focused);
    this.stages.render(track);
    this.report.render(this.panes.flatMap(({ name, track: one }) => (one?.view ? [{ name, job: one.view }] : [])));
    this.finish.render(track?.view ?? null);
    this.deliveries.render(track?.view ?? null);
    this.toolbar.render(this.panes.filter((pane) => pane.viewer).map((pane) => pane.track!.view!.artifact!.units));
    this.composer.refresh();
    this.recent.mark([a, b].flatMap((pane) => pane.track?.id ?? []));
  }

  private turned(turnedPane: Pane, pose: Pose): void {
    for (const pane of this.panes) if (pane !== turnedPane) pane.viewer?.setPose(pose);
  }

  /** What a job beside A has in common with it. */
  private shared(): Shared | null {
    const track = this.panes[0].track;
    const view = track?.view;
    if (!track || !view) return null;
    const picture = this.pictureOf(track, view);
    return picture && { picture, seed: this.seedOf(track), asset_id: view.asset_id };
  }

  /** The picture that was sent from here; of other jobs the cut-out, which the service still has. */
  private pictureOf(track: JobTrack, view: JobView): Picture | null {
    const sent = this.sent.get(track.id)?.picture;
    const name = `${view.asset_id}.png`;
    if (sent) return sent;
    if (track.views.length) return { kind: "views", views: Object.fromEntries(track.views.map((one) => [one.view, { file: one.blob, name }])) };
    return track.cutout && { kind: "file", file: track.cutout, name };
  }

  /** As it was sent where it was sent from here: JavaScript rounds the largest ones that it reads. */
  private seedOf(track: JobTrack): unknown {
    return this.sent.get(track.id)?.options["seed"] ?? track.view?.options["seed"];
  }

  /** A variant that differs in its format alone. */
  private async remake({ track }: Pane, format: Format): Promise<void> {
    const view = track?.view;
    if (!view) return;
    const fields = Object.entries({ ...asked(view), formats: [format] }).filter(([, value]) => value !== null);
    this.varied(await this.client.vary(view.job_id, Object.fromEntries(fields)));
  }

  /** Shows a variant beside the job in A. */
  private varied(accepted: Accepted): void {
    this.open(accepted.job_id, this.panes[1], accepted);
    void this.recent.refresh();
  }

  private async download({ track }: Pane, button: HTMLElement): Promise<void> {
    const artifact = track?.view?.artifact;
    if (!track || !artifact) return;
    await this.attempt(async () => {
      const bytes = track.mesh && artifact.format === "stl" ? new Blob([track.mesh], { type: artifact.media_type }) : await this.client.file(track.id, "mesh");
      const isSame = await hasSha256(bytes, artifact.sha256);
      if (isSame === false) throw new Error("The file that came is not the one that was made: its sha256 is another.");
      saveFile(bytes, artifact.filename);
      button.title = isSame ? `sha256 ${artifact.sha256}, checked` : "";
    });
  }

  private async copyLink({ track }: Pane, button: HTMLElement): Promise<void> {
    const link = `${location.origin}/#job=${track!.id}`;
    if (await copyText(link)) setText(button, "Copied");
    else window.prompt("Link to the job", link);
    setTimeout(() => setText(button, "Copy link"), 1500);
  }

  private async redeliver(): Promise<void> {
    const { track } = this.focused;
    if (!track) return;
    await this.attempt(async () => {
      await this.client.redeliver(track.id);
      await track.watchDelivery();
    });
  }

  /** Does it; what goes wrong is said in words. */
  private async attempt(act: () => Promise<unknown> | unknown): Promise<void> {
    try {
      await act();
    } catch (error) {
      const toast = el("p", { class: "toast", role: "alert" }, (error as Error).message);
      byId("toasts").replaceChildren(toast);
      setTimeout(() => toast.remove(), 8000);
    }
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void this.composer.submit(event.shiftKey);
    }
    const isViewer = event.target instanceof HTMLCanvasElement;
    if (isViewer && !event.ctrlKey && !event.metaKey && !event.altKey) this.toolbar.key(event.key.toLowerCase());
  }

  private remember(): void {
    const open = this.panes.flatMap((pane) => pane.track?.id ?? []);
    const hash = open.map((id, at) => `${at === 0 ? "job" : "with"}=${id}`).join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  }

  private openLinked(): void {
    const linked = new URLSearchParams(location.hash.slice(1));
    const [a, b] = this.panes;
    for (const [name, pane] of [["job", a], ["with", b]] as const) {
      const id = linked.get(name);
      if (id && pane.track?.id !== id) this.open(id, pane);
    }
  }
}

/** Where the page scrolls, a job that was opened far from the panes would change nothing that is seen. */
function bringIntoView(element: HTMLElement): void {
  const { top, bottom } = element.getBoundingClientRect();
  if (top < 0 || bottom > window.innerHeight) element.scrollIntoView({ block: "start" });
}

/** Null where the page may not compute it (plain http from another machine). */
async function hasSha256(bytes: Blob, sha256: string): Promise<boolean | null> {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await bytes.arrayBuffer()));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

new Studio().start();
