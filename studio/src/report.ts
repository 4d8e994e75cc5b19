// What a slicer will find in a mesh, of one job or of two in columns beside each other.

import { type CutOutFacts, sourceOf, warningsOf } from "./cutout_facts";
import { el } from "./dom";
import { bytes, type JobView, number, seconds } from "./job";
import { VIEWS } from "./views";

type Cell = { text: string; mark?: "good" | "bad" };
type Line = [name: string, read: (job: JobView) => Cell | null];

const LINES: Line[] = [
  ["Printable", ({ print, artifact }) => print && (artifact?.units === "mm" ? yes(print.printable) : { text: "no size given" })],
  ["Watertight", ({ print }) => print && yes(print.watertight)],
  ["Manifold", ({ print }) => print && yes(print.manifold)],
  ["Size", ({ artifact }) => artifact && { text: sizeOf(artifact.bbox, artifact.units) }],
  ["Volume", (job) => inMm(job, (print) => `${number(print.volume_cm3, 1)} cm³`)],
  ["Surface", (job) => inMm(job, (print) => `${number(print.area_cm2, 1)} cm²`)],
  ["Bodies", ({ print }) => print && { text: number(print.bodies) + (print.hollows ? `, ${print.hollows} hollow` : "") }],
  ["Thinnest wall", (job) => inMm(job, (print) => (print.smallest_wall_mm === null ? "over 5 mm" : `${number(print.smallest_wall_mm)} mm`))],
  ["Overhang", ({ print }) => print && { text: percent(print.overhang_share) }],
  ["On the plate", (job) => inMm(job, (print) => `${number(print.contact_area_mm2, 0)} mm²`)],
  ["Self-crossing", ({ print }) => print && { text: percent(print.self_intersection_share) }],
  ["Printers", (job) => inMm(job, (print) => print.printers.map((kind) => kind.toUpperCase().replace("RESIN", "resin")).join(", ") || "none")],
  ["Grams", (job) => inMm(job, ({ costs }) => (costs ? ["pla", "resin"].map((one) => `${number(costs.grams[one] ?? 0, 1)} ${one}`).join(", ") : "–"))],
  ["Hours", (job) => inMm(job, ({ costs }) => (costs ? `about ${number(costs.hours, 1)}` : "–"))],
  ["Added", ({ print }) => (print?.additions.length ? { text: print.additions.map(({ kind, volume_mm3 }) => `${kind} ${number(volume_mm3 / 1000, 1)} cm³`).join(", ") } : null)],
  ["Sliced", ({ print }) => (print?.slicing ? { text: [print.slicing.grams === null ? null : `${number(print.slicing.grams, 1)} g`, `${number(print.slicing.hours, 1)} h`].filter(Boolean).join(", ") } : null)],
  ["Cut-out", ({ cutout }) => cutout && { text: cutoutWords(cutout) }],
  ...VIEWS.map((view): Line => [`Cut-out, ${view}`, ({ cutouts }) => (cutouts[view] ? { text: cutoutWords(cutouts[view]) } : null)]),
  ["Faces", ({ artifact }) => artifact && { text: number(artifact.faces) }],
  ["File", ({ artifact }) => artifact && { text: `${artifact.format.toUpperCase()}, ${bytes(artifact.size)}` }],
];

const OPTION_LINES: Line[] = [
  ...["sampler", "num_inference_steps", "network_calls", "guidance_scale", "octree_resolution", "decode_mode", "height_mm", "target_faces", "seed"].map(optionLine),
  ["model", ({ model }) => (model.id ? { text: model.id } : null)],
  ["seconds of work", ({ timings_s: took }) => (Object.keys(took).length ? { text: seconds(Object.values(took).reduce((sum, one) => sum + one, 0)) } : null)],
];

export class Report {
  readonly element = el("section", { class: "panel report", "aria-labelledby": "report-title" });

  private shownOf = "";

  render(jobs: { name: string; job: JobView }[]): void {
    const shown = jobs.filter(({ job }) => job.artifact !== null);
    const of = shown.map(({ name, job }) => name + job.job_id).join();
    // A finished job's report stays as it is; what somebody unfolded in it does too.
    if (of === this.shownOf && of !== "") return;
    this.shownOf = of;
    this.element.hidden = shown.length === 0;
    if (shown.length === 0) return this.element.replaceChildren();
    this.element.replaceChildren(
      el("header", {}, el("h2", { id: "report-title" }, "Print report")),
      ...shown.flatMap(({ name, job }) => warnings(shown.length > 1 ? name : "", job)),
      table(shown, LINES, "Print report"),
      el("details", { class: "as-used", open: shown.length > 1 }, el("summary", {}, "Options as used"), table(shown, OPTION_LINES, "Options as used")),
    );
  }
}

function table(shown: { name: string; job: JobView }[], lines: Line[], label: string): HTMLElement {
  const rows = lines.flatMap(([name, read]) => {
    const cells = shown.map(({ job }) => read(job));
    if (cells.every((cell) => cell === null)) return [];
    const differ = new Set(cells.map((cell) => cell?.text)).size > 1;
    return [el("tr", { class: differ ? "differs" : null }, el("th", { scope: "row" }, name), ...cells.map(cellOf))];
  });
  const head = shown.length > 1 ? el("thead", {}, el("tr", {}, el("td", {}), ...shown.map(({ name }) => el("th", { scope: "col" }, name)))) : null;
  return el("table", { "aria-label": label }, head, el("tbody", {}, ...rows));
}

function cellOf(cell: Cell | null): HTMLElement {
  return el("td", { class: cell?.mark ? `is-${cell.mark}` : null }, cell?.text ?? "–");
}

function warnings(name: string, job: JobView): HTMLElement[] {
  const ofViews = VIEWS.flatMap((view) => warningsOf(job.cutouts[view] ?? null).map((one) => `${view}: ${one}`));
  const told = [...(job.print?.warnings ?? []), ...warningsOf(job.cutout), ...ofViews];
  if (told.length === 0) return [];
  return [el("ul", { class: "warnings", "aria-label": "Warnings" }, ...told.map((one) => el("li", {}, name ? `${name}: ${one}` : one)))];
}

function cutoutWords(facts: CutOutFacts): string {
  return `${sourceOf(facts)}, ${percent(facts.share)} of the picture`;
}

function inMm(job: JobView, read: (print: NonNullable<JobView["print"]>) => string): Cell | null {
  return job.print && job.artifact?.units === "mm" ? { text: read(job.print) } : null;
}

function optionLine(name: string): Line {
  return [name, ({ options }) => (options[name] == null ? null : { text: String(options[name]) })];
}

function yes(is: boolean): Cell {
  return is ? { text: "yes", mark: "good" } : { text: "no", mark: "bad" };
}

function percent(share: number): string {
  return share > 0 && share < 0.001 ? "< 0.1 %" : `${number(100 * share, 1)} %`;
}

function sizeOf(sides: [number, number, number], units: "mm" | "model"): string {
  const digits = units === "mm" ? 1 : 2;
  return `${sides.map((side) => number(side, digits)).join(" × ")}${units === "mm" ? " mm" : ""}`;
}
