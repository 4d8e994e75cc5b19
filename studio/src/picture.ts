// The picture of the next job: dropped, pasted, chosen, or named by a URL.

import { byId, el, setText } from "./dom";
import { bytes } from "./job";
import { namesOf, type PictureFile, type View, ViewPlaces, type Views } from "./views";

const TYPES = ["image/png", "image/jpeg", "image/webp", "image/avif"];
const MAX_BYTES = 20_000_000;

export type Picture = ({ kind: "file" } & PictureFile) | { kind: "url"; url: string } | { kind: "views"; views: Views };

/** A file or URL that can't be the picture, in words. */
export class NoPicture extends Error {}

export class PictureInput {
  picture: Picture | null = null;
  onChange: () => void = () => {};
  onRefused: (words: string) => void = () => {};

  private readonly drop = byId<HTMLButtonElement>("drop");
  private readonly file = byId<HTMLInputElement>("picture-file");
  private readonly url = byId<HTMLInputElement>("picture-url");
  private readonly problem = byId("problem-image_url");
  private readonly places = new ViewPlaces((files, view) => this.takeView(files, view));
  private shownUrl: string | null = null;

  constructor() {
    this.drop.addEventListener("click", () => this.file.click());
    this.file.addEventListener("change", () => this.take(this.file.files));
    this.url.addEventListener("input", () => this.takeUrl(this.url.value.trim()));
    document.addEventListener("paste", (event) => this.paste(event));
    this.places.onChange = (views) => this.takeViews(views);
    this.listenForDrops();
    this.show();
  }

  /** Takes these bytes as the picture; says so in words when they can't be. */
  takeFile(file: Blob, name: string): void {
    if (!this.isPicture(file)) return;
    this.url.value = "";
    this.places.clear();
    this.set({ kind: "file", file, name });
  }

  private isPicture(file: Blob): boolean {
    try {
      check(file);
      return true;
    } catch (error) {
      this.onRefused((error as Error).message);
      return false;
    }
  }

  private takeView(files: FileList | null, view: View): void {
    const file = files?.[0];
    if (file && this.isPicture(file)) this.places.put(view, { file, name: file.name });
  }

  private takeViews(views: Views): void {
    this.url.value = "";
    this.set(namesOf(views).length ? { kind: "views", views } : null);
  }

  /** True for the fields of a request that stand for what was given here. */
  knows(field: string): boolean {
    if (this.picture?.kind === "views") return field === "image_urls" || namesOf(this.picture.views).some((view) => view === field);
    return field === "image_url" && this.picture?.kind === "url";
  }

  /** Says beside the URL or the views what the service found wrong with them; empty words take that back. */
  tell(words: string, field = ""): void {
    const isOfViews = this.picture?.kind === "views";
    setText(byId("problem-views"), isOfViews && words ? `${field}: ${words}` : "");
    setText(this.problem, isOfViews ? "" : words);
    if (isOfViews) return;
    if (!words) return this.url.removeAttribute("aria-invalid");
    this.url.setAttribute("aria-invalid", "true");
    this.url.focus();
  }

  private take(files: FileList | null | undefined): void {
    const file = files?.[0];
    if (file) this.takeFile(file, file.name);
    this.file.value = "";
  }

  private takeUrl(url: string): void {
    if (url) this.places.clear();
    if (url) this.set({ kind: "url", url });
    else if (this.picture?.kind === "url") this.set(null);
  }

  private paste(event: ClipboardEvent): void {
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      return this.take(event.clipboardData.files);
    }
    const text = event.clipboardData?.getData("text").trim() ?? "";
    const isTyping = event.target instanceof HTMLInputElement;
    if (isTyping || !/^https?:\/\/\S+$/.test(text)) return;
    this.url.value = text;
    this.takeUrl(text);
  }

  private listenForDrops(): void {
    let depth = 0;
    const mark = (change: number): void => {
      depth = Math.max(0, depth + change);
      document.body.classList.toggle("is-dropping", depth > 0);
    };
    window.addEventListener("dragenter", () => mark(1));
    window.addEventListener("dragleave", () => mark(-1));
    window.addEventListener("dragover", (event) => event.preventDefault());
    window.addEventListener("drop", (event) => {
      event.preventDefault();
      mark(-depth);
      const place = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-view]") : null;
      if (place && event.dataTransfer?.files.length) return this.takeView(event.dataTransfer.files, place.dataset["view"] as View);
      if (event.dataTransfer?.files.length) return this.take(event.dataTransfer.files);
      const url = event.dataTransfer?.getData("text/uri-list").split("\n")[0]?.trim();
      if (url) this.takeUrl((this.url.value = url));
    });
  }

  private set(picture: Picture | null): void {
    this.picture = picture;
    this.tell("");
    this.show();
    this.onChange();
  }

  private show(): void {
    if (this.shownUrl) URL.revokeObjectURL(this.shownUrl);
    this.shownUrl = null;
    this.drop.classList.toggle("has-picture", this.picture?.kind === "file");
    if (this.picture?.kind !== "file") {
      this.drop.replaceChildren(el("strong", {}, wordsOf(this.picture)), el("span", {}, "PNG, JPEG, WebP or AVIF, 20 MB at most"));
      return;
    }
    this.shownUrl = URL.createObjectURL(this.picture.file);
    this.drop.replaceChildren(
      el("img", { src: this.shownUrl, alt: "" }),
      el("span", { class: "picture-name" }, el("span", {}, this.picture.name), el("span", {}, bytes(this.picture.file.size))),
      el("span", { class: "visually-hidden" }, "Choose another picture"),
    );
  }
}

function wordsOf(picture: Picture | null): string {
  if (picture?.kind === "views") return `Views: ${namesOf(picture.views).join(", ")}`;
  return picture ? "The service will fetch the picture" : "Drop, paste or choose a picture";
}

/** The parts of a form that hold the picture, or one for each of its views. */
export function partsOf(picture: Exclude<Picture, { kind: "url" }>): [string, PictureFile][] {
  return picture.kind === "file" ? [["image", picture]] : namesOf(picture.views).map((view) => [view, picture.views[view]!]);
}

/** A name for the result that the API takes, from the picture's own. */
export function assetIdOf(picture: Picture): string {
  const name = fileNameOf(picture);
  const plain = name.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9._:-]+/g, "-").replace(/^-+|-+$/g, "");
  return plain.slice(0, 100) || "mesh";
}

function fileNameOf(picture: Picture): string {
  if (picture.kind === "url") return picture.url.split(/[?#]/)[0]!.split("/").pop() ?? "";
  return picture.kind === "file" ? picture.name : (picture.views[namesOf(picture.views)[0]!]?.name ?? "");
}

function check(file: Blob): void {
  if (!TYPES.includes(file.type)) throw new NoPicture("This file is no PNG, JPEG, WebP or AVIF picture.");
  if (file.size > MAX_BYTES) throw new NoPicture(`The picture has ${bytes(file.size)}; 20 MB are the most.`);
}
