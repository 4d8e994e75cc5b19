// The cut-outs beside the mesh that was made of them, since most bad meshes are bad cut-outs; each larger when asked.

import { el } from "./dom";

export interface InsetPicture {
  url: string;
  /** The side of the object that it shows; empty of a single picture. */
  view: string;
}

export class CutoutInset {
  readonly element = el("div", { class: "cutout-insets" });
  private shown = "";

  /** Hidden where there is none. */
  render(pictures: InsetPicture[]): void {
    const shown = pictures.map(({ url }) => url).join();
    if (shown === this.shown) return;
    this.shown = shown;
    this.element.replaceChildren(...pictures.map(inset));
  }
}

function inset({ url, view }: InsetPicture): HTMLElement {
  const alt = `The cut-out: what the model saw of the ${view || "picture"}`;
  const button = el("button", { type: "button", class: "cutout-inset", title: "The cut-out, larger or smaller", "aria-expanded": "false" }, el("img", { src: url, alt }), view && el("span", { "aria-hidden": "true" }, view));
  button.addEventListener("click", () => button.setAttribute("aria-expanded", String(button.classList.toggle("is-large"))));
  return button;
}
