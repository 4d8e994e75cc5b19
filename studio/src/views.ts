// Several pictures of one object, by the side they show: four places beside the one for a single picture.

import { byId, el } from "./dom";

export const VIEWS = ["front", "left", "back", "right"] as const;
export type View = (typeof VIEWS)[number];

export interface PictureFile {
  file: Blob;
  name: string;
}

export type Views = Partial<Record<View, PictureFile>>;

export class ViewPlaces {
  /** Called with the views that are filled, none of them too. */
  onChange: (views: Views) => void = () => {};

  private views: Views = {};
  private readonly element = byId<HTMLDetailsElement>("views");
  private readonly shown: string[] = [];

  /** `take` checks a chosen file, and gives it to `put`. */
  constructor(private readonly take: (files: FileList | null, view: View) => void) {
    this.render();
  }

  /** Fills one place. */
  put(view: View, picture: PictureFile): void {
    this.views = { ...this.views, [view]: picture };
    this.changed();
  }

  /** Empties all places, without a word. */
  clear(): void {
    this.views = {};
    this.render();
  }

  private remove(view: View): void {
    const { [view]: _, ...rest } = this.views;
    this.views = rest;
    this.changed();
    this.element.querySelector<HTMLElement>(`[data-view=${view}] .view-choose`)?.focus();
  }

  private changed(): void {
    this.render();
    this.onChange(this.views);
  }

  private render(): void {
    for (const url of this.shown.splice(0)) URL.revokeObjectURL(url);
    this.element.querySelector(".view-places")!.replaceChildren(...VIEWS.map((view) => this.place(view)));
    if (namesOf(this.views).length) this.element.open = true;
  }

  private place(view: View): HTMLElement {
    const picture = this.views[view];
    const file = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/avif", "aria-label": `Picture of the ${view}`, tabindex: -1, hidden: true });
    file.addEventListener("change", () => this.take(file.files, view));
    const choose = el("button", { type: "button", class: "view-choose", title: picture?.name ?? `Choose or drop a picture of the ${view}`, onclick: () => file.click() }, picture ? this.image(picture) : "+", el("span", {}, view));
    const remove = picture && el("button", { type: "button", class: "view-remove", "aria-label": `Remove the ${view}`, onclick: () => this.remove(view) }, "×");
    return el("div", { class: "view-place", "data-view": view }, choose, file, remove);
  }

  private image({ file }: PictureFile): HTMLElement {
    const src = URL.createObjectURL(file);
    this.shown.push(src);
    return el("img", { src, alt: "" });
  }
}

/** The names of the views that are there, in the order of the API. */
export function namesOf(views: Partial<Record<View, unknown>>): View[] {
  return VIEWS.filter((view) => views[view] !== undefined);
}
