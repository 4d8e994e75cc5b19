// One job in the middle of the page: what there is to see of it now. Its cut-out while it runs, its mesh at the end,
// or why there is none.

import { Cover } from "./cover";
import { CutoutInset, type InsetPicture } from "./cutout_inset";
import { el, setText } from "./dom";
import { bytes, type Format, FORMATS, isOver, type JobView, number, STATUS_WORDS } from "./job";
import type { JobTrack } from "./job_track";
import { FIRST_LOOK, type Look, type Pose, Viewer } from "./viewer";

export interface PaneActions {
  close(): void;
  focus(): void;
  turned(pose: Pose): void;
  download(button: HTMLElement): void;
  /** Saves a further file of the job, by the route that serves it. */
  save(url: string, filename: string): void;
  copyLink(button: HTMLElement): void;
  cancel(): void;
  retry(): void;
  /** Makes the same mesh in another format: a variant. */
  remake(format: Format): void;
}

export class Pane {
  readonly element: HTMLElement;
  track: JobTrack | null = null;
  viewer: Viewer | null = null;

  private look: Look = FIRST_LOOK;
  private shownMesh: ArrayBuffer | null = null;
  private offeredOf = "";
  private readonly title = el("h2", { class: "pane-title" });
  private readonly facts = el("p", { class: "pane-facts" });
  private readonly view = el("div", { class: "pane-view" });
  private readonly cover: Cover;
  private readonly inset = new CutoutInset();
  private readonly cancel: HTMLButtonElement;
  private readonly download: HTMLButtonElement;
  private readonly formats = el("select", { class: "formats", "aria-label": "Other formats" });
  private readonly close: HTMLButtonElement;
  private readonly link: HTMLButtonElement;

  constructor(readonly name: "A" | "B", private readonly actions: PaneActions) {
    const button = (words: string, kind: string, act: (button: HTMLElement) => void): HTMLButtonElement =>
      el("button", { type: "button", class: kind, onclick: (event) => act(event.currentTarget as HTMLElement) }, words);
    this.cancel = button("Cancel", "quiet", () => actions.cancel());
    this.link = button("Copy link", "quiet", (it) => actions.copyLink(it));
    this.download = button("Download", "solid", (it) => actions.download(it));
    this.close = button("×", "quiet icon", () => actions.close());
    this.close.setAttribute("aria-label", `Close job ${name}`);
    this.formats.addEventListener("change", () => {
      const { value, selectedOptions } = this.formats;
      const { filename } = selectedOptions[0]!.dataset;
      if (filename) actions.save(value, filename);
      else actions.remake(value as Format);
      this.formats.selectedIndex = 0;
    });
    const tag = el("span", { class: "pane-tag", "aria-hidden": "true" }, name);
    const tools = el("div", { class: "pane-tools" }, this.cancel, this.link, this.formats, this.download, this.close);
    const header = el("header", {}, tag, el("div", { class: "pane-words" }, this.title, this.facts), tools);
    this.cover = new Cover(() => actions.retry());
    this.view.append(this.cover.element, this.inset.element);
    this.element = el("section", { class: "pane", "aria-label": `Job ${name}` }, header, this.view);
    this.element.addEventListener("pointerdown", () => actions.focus());
    this.element.addEventListener("focusin", () => actions.focus());
    this.render();
  }

  /** Shows another job, or none. */
  open(track: JobTrack | null): void {
    this.track?.stop();
    this.track = track;
    this.viewer?.dispose();
    this.viewer = null;
    this.shownMesh = null;
    this.render();
  }

  apply(look: Look): void {
    this.look = look;
    this.viewer?.apply(look);
  }

  render(): void {
    const track = this.track;
    const view = track?.view ?? null;
    this.element.classList.toggle("is-empty", track === null);
    setText(this.title, view?.asset_id ?? (track ? track.id.slice(0, 8) : ""));
    setText(this.facts, track ? factsOf(track) : "");
    this.cancel.hidden = !track || (view !== null && isOver(view.status)) || track.connection.kind === "refused";
    this.download.hidden = view?.artifact == null;
    this.formats.hidden = view?.artifact == null;
    if (view?.artifact) this.offer(view);
    this.link.hidden = !track;
    this.close.hidden = !track;
    this.showMesh(track);
    this.cover.element.hidden = this.viewer !== null;
    this.cover.render(track);
    this.inset.render(this.viewer && track ? cutoutsOf(track) : []);
  }

  /** The first file, the job's others, and the formats that a variant makes. */
  private offer(view: JobView): void {
    setText(this.download, `Download ${view.artifact!.format.toUpperCase()}`);
    if (this.offeredOf === view.job_id) return;
    this.offeredOf = view.job_id;
    const has = view.artifacts.map((one) => one.format);
    const files = [...view.artifacts.slice(1).map((one) => ({ ...one, words: one.format.toUpperCase() })), ...(view.gcode ? [{ ...view.gcode, words: "G-code" }] : [])];
    const ready = files.map((one) => el("option", { value: one.url ?? "", "data-filename": one.filename }, `${one.words}: download, ${bytes(one.size)}`));
    const others = FORMATS.filter((one) => !has.includes(one));
    const lines = others.map((one) => el("option", { value: one }, `${one.toUpperCase()}: a variant, without the device`));
    this.formats.replaceChildren(el("option", { value: "", hidden: true }, "Other formats"), ...ready, ...lines);
  }

  private showMesh(track: JobTrack | null): void {
    if (!track?.mesh || track.mesh === this.shownMesh) return;
    this.shownMesh = track.mesh;
    const artifact = track.view!.artifact!;
    const label = `Mesh of ${track.view!.asset_id}, ${number(artifact.faces)} faces. Arrow keys turn it, plus and minus zoom.`;
    try {
      this.viewer = new Viewer(this.view, label);
      this.viewer.show(track.mesh, artifact.units);
      this.viewer.apply(this.look);
      this.viewer.onTurn = (pose) => this.actions.turned(pose);
    } catch {
      this.viewer?.dispose();
      this.viewer = null;
      track.meshWords = "This browser can't draw in 3D (WebGL is off). The mesh can be downloaded.";
    }
  }
}

function cutoutsOf(track: JobTrack): InsetPicture[] {
  if (track.views.length) return track.views;
  return track.cutoutUrl ? [{ url: track.cutoutUrl, view: "" }] : [];
}

function factsOf(track: JobTrack): string {
  const view = track.view;
  if (!view) return track.id;
  const artifact = view.artifact;
  if (!artifact) return `${STATUS_WORDS[view.status]} · ${view.session_id}`;
  const from = view.options["seed"] == null ? (view.kind === "mesh_check" ? "a mesh of your own" : "a variant") : `seed ${String(view.options["seed"])}`;
  return `${number(artifact.faces)} faces · ${bytes(artifact.size)} · ${view.kind === "variant" ? "a variant" : from}`;
}
