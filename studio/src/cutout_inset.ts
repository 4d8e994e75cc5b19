// The cut-out beside the mesh that was made of it, since most bad meshes are bad cut-outs; larger when asked.

import { el } from "./dom";

export class CutoutInset {
  private readonly image = el("img", { alt: "The cut-out: what the model saw of the picture" });
  readonly element = el("button", { type: "button", class: "cutout-inset", title: "The cut-out, larger or smaller" }, this.image);

  constructor() {
    this.element.addEventListener("click", () => this.enlarge(!this.element.classList.contains("is-large")));
    this.enlarge(false);
  }

  /** Hidden where there is none. */
  render(url: string | null): void {
    this.element.hidden = url === null;
    if (url !== null && this.image.src !== url) this.image.src = url;
  }

  private enlarge(isLarge: boolean): void {
    this.element.classList.toggle("is-large", isLarge);
    this.element.setAttribute("aria-expanded", String(isLarge));
  }
}
