// The cut-out of the picture that was just taken, before any job: what the model would see, what is suspicious about it,
// and which remover made it. Accepted, the job begins with it.

import { type Client, Problem } from "./api";
import type { components } from "./api_schema";
import { sourceOf, warningsOf } from "./cutout_facts";
import { el } from "./dom";
import type { Picture } from "./picture";

export type CutOut = components["schemas"]["CutOutView"];

export class CutoutPreview {
  readonly element = el("section", { class: "cutout-preview", "aria-label": "Cut-out", hidden: true });
  /** The cut-out that the next job begins with; null where the picture itself is sent. */
  accepted: CutOut | null = null;

  private picture: Picture | null = null;
  private url: string | null = null;
  private asked = 0;
  private model = "";
  private readonly image = el("img", { alt: "The cut-out: what the model would see" });
  private readonly words = el("p", { class: "cutout-words", role: "status" });
  private readonly warnings = el("ul", { class: "warnings", "aria-label": "Warnings of the cut-out" });
  private readonly remover = el("select", { "aria-label": "Background remover" });
  private readonly accept = el("input", { type: "checkbox", id: "accept-cutout" });

  constructor(private readonly client: Client) {
    const row = el("div", { class: "cutout-choice" }, this.remover, el("label", { for: "accept-cutout" }, this.accept, " Use this cut-out"));
    this.element.append(this.image, this.words, this.warnings, row);
    this.remover.addEventListener("change", () => {
      this.model = this.remover.value;
      void this.make();
    });
    this.accept.addEventListener("change", () => (this.accepted = this.accept.checked ? this.made : null));
  }

  private made: CutOut | null = null;

  /** Shows the cut-out of this picture as soon as it is made. */
  show(picture: Picture | null): void {
    this.picture = picture?.kind === "file" ? picture : null;
    void this.make();
  }

  private async make(): Promise<void> {
    const turn = ++this.asked;
    this.clear();
    this.element.hidden = this.picture === null;
    if (!this.picture) return;
    this.words.textContent = "Cutting out…";
    try {
      await this.listRemovers();
      const made = await this.client.cutOut(this.picture, this.model);
      const png = await this.client.blob(made.url);
      if (turn === this.asked) this.render(made, png);
    } catch (error) {
      if (turn === this.asked) this.words.textContent = error instanceof Problem ? (error.fields[0]?.detail ?? error.detail) : (error as Error).message;
    }
  }

  private async listRemovers(): Promise<void> {
    const models = await this.client.mattingModels();
    const names = ["", ...models.installed];
    const options = names.map((name) => el("option", { value: name, selected: name === this.model }, name || `default (${models.default ?? "none"})`));
    this.remover.replaceChildren(...options);
  }

  private render(made: CutOut, png: Blob): void {
    this.made = this.accepted = made;
    this.accept.checked = true;
    this.accept.disabled = false;
    this.url = URL.createObjectURL(png);
    this.image.src = this.url;
    this.image.hidden = false;
    this.words.textContent = `${sourceOf(made.cutout)}, ${Math.round(100 * made.cutout.share)} % of the picture`;
    this.warnings.replaceChildren(...warningsOf(made.cutout).map((one) => el("li", {}, one)));
  }

  private clear(): void {
    this.made = this.accepted = null;
    this.accept.checked = false;
    this.accept.disabled = true;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    this.image.hidden = true;
    this.warnings.replaceChildren();
  }
}
