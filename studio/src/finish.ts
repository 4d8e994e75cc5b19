// Finish again: a variant of the job that is open, with other formats and print fields, and the variants that there are.

import { type Client, type FieldProblem, Problem } from "./api";
import { el, setText } from "./dom";
import { type Field, fieldsOf } from "./fields";
import { type Accepted, type JobSummary, type JobView, STATUS_WORDS } from "./job";
import { Options } from "./options";

const GROUPS = [
  { title: "", names: ["formats", "height_mm", "target_faces", "flat_base"] },
  { title: "Add to it", names: ["base", "hollow", "attach"] },
  { title: "More", names: ["slice", "max_bytes", "require_printable", "thumbnail", "asset_id", "webhook_url"] },
];
const LISTED = 50;

export interface FinishActions {
  /** A variant was accepted. */
  accepted(accepted: Accepted): void;
  open(id: string): void;
}

export class Finish {
  readonly element = el("section", { class: "panel finish", "aria-labelledby": "finish-title", hidden: true });

  private readonly options = new Options("again-", GROUPS);
  private readonly origin = el("p", { class: "finish-words" });
  private readonly problem = el("p", { class: "composer-problem", role: "alert", hidden: true });
  private readonly form: HTMLFormElement;
  private readonly details: HTMLDetailsElement;
  private readonly button: HTMLButtonElement;
  private readonly list = el("ul", { class: "variant-list", "aria-label": "Variants" });
  private fields: Field[] = [];
  private job: JobView | null = null;
  private listedOf = "";

  constructor(private readonly client: Client, private readonly actions: FinishActions) {
    this.button = el("button", { type: "submit", class: "solid" }, "Make the variant");
    const words = el("p", { class: "finish-words" }, "Begins at this job’s mesh: seconds of a processor, and no device.");
    this.form = el("form", { novalidate: true, "aria-label": "Variant" }, words, this.options.element, this.problem, this.button);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.make();
    });
    this.details = el("details", {}, el("summary", {}, el("h2", { id: "finish-title" }, "Finish again")), this.form);
    this.element.append(this.origin, this.details, this.list);
  }

  /** Takes the fields that a variant may have from the service's document. */
  async load(): Promise<void> {
    if (this.fields.length > 0) return;
    try {
      this.fields = fieldsOf(await this.client.openapi(), "/jobs/{job_id}/variants");
    } catch {
      return; // the composer says that the service is away
    }
    this.options.show(this.fields);
    if (this.job) this.options.write(asked(this.job));
  }

  render(job: JobView | null): void {
    const isOther = job?.job_id !== this.job?.job_id;
    this.job = job;
    this.element.hidden = job === null || !(hasMesh(job) || job.variant_of !== null);
    if (this.element.hidden || job === null) return;
    this.details.hidden = !hasMesh(job);
    if (isOther) this.begin(job);
    void this.refresh(`${job.job_id} ${job.status}`);
  }

  /** Reads the variants of the open job again, where `of` is other than before. */
  async refresh(of = ""): Promise<void> {
    const job = this.job;
    if (!job || !hasMesh(job) || (of !== "" && of === this.listedOf)) return;
    this.listedOf = of || this.listedOf;
    try {
      const { jobs } = await this.client.jobs({ variant_of: job.job_id, limit: LISTED });
      if (this.job?.job_id === job.job_id) this.list.replaceChildren(...jobs.map((one) => el("li", {}, this.link(one))));
    } catch {
      // The page of jobs of late says that the service is away.
    }
  }

  private begin(job: JobView): void {
    this.tell("");
    this.options.tell([]);
    this.options.write(asked(job));
    this.list.replaceChildren();
    const source = job.variant_of;
    this.origin.hidden = source === null;
    this.origin.replaceChildren();
    if (source === null) return;
    const open = el("button", { type: "button", class: "link", onclick: () => this.actions.open(source) }, `job ${source.slice(0, 8)}`);
    this.origin.append("A variant of ", open);
  }

  private link(variant: JobSummary): HTMLElement {
    const format = variant.format.toUpperCase();
    const tall = variant.artifact?.units === "mm" ? `, ${Math.round(variant.artifact.bbox[2])} mm tall` : "";
    const state = variant.status === "succeeded" ? "" : `, ${STATUS_WORDS[variant.status].toLowerCase()}`;
    const dot = el("span", { class: "status-dot", "data-status": variant.status });
    return el("button", { type: "button", class: "link", onclick: () => this.actions.open(variant.job_id) }, dot, `${variant.asset_id}: ${format}${tall}${state}`);
  }

  private async make(): Promise<void> {
    const job = this.job;
    if (!job || this.button.disabled || !this.form.reportValidity()) return;
    this.tell("");
    this.button.disabled = true;
    try {
      const accepted = await this.client.vary(job.job_id, this.options.read());
      this.options.tell([]);
      this.actions.accepted(accepted);
      await this.refresh();
    } catch (error) {
      this.refused(error as Error);
    } finally {
      this.button.disabled = false;
    }
  }

  private refused(error: Error): void {
    const fields: FieldProblem[] = error instanceof Problem ? error.fields : [];
    const homeless = this.options.tell(fields);
    if (fields.length === 0) return this.tell(error.message);
    this.tell(homeless.length ? homeless.join(" ") : "The service refused what is marked above.");
  }

  private tell(words: string): void {
    setText(this.problem, words);
    this.problem.hidden = words === "";
  }
}

/** What the job was finished with, as a variant is asked; a name in `formats` for each of its files. */
export function asked(job: JobView): Record<string, unknown> {
  const names = GROUPS.flatMap((group) => group.names);
  const fields = Object.fromEntries(names.map((name) => [name, (job.options as Record<string, unknown>)[name] ?? null]));
  return { ...fields, formats: job.artifacts.map((one) => one.format), asset_id: job.asset_id, thumbnail: null };
}

/** True for a job that left a mesh to begin with. */
function hasMesh(job: JobView): boolean {
  return job.status === "succeeded" || (job.status === "failed" && job.error?.stage === "finish");
}
