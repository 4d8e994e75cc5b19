// The picture of the next job: dropped, pasted, chosen, or named by a URL.

import { byId, el, setText } from "./dom";
import { bytes } from "./job";

const TYPES = ["image/png", "image/jpeg", "image/webp", "image/avif"];
const MAX_BYTES = 20_000_000;

export type Picture = { kind: "file"; file: Blob; name: string } | { kind: "url"; url: string };

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
  private shownUrl: string | null = null;

  constructor() {
    this.drop.addEventListener("click", () => this.file.click());
    this.file.addEventListener("change", () => this.take(this.file.files));
    this.url.addEventListener("input", () => this.takeUrl(this.url.value.trim()));
    document.addEventListener("paste", (event) => this.paste(event));
    this.listenForDrops();
    this.show();
  }

  /** Takes these bytes as the picture; says so in words when they can't be. */
  takeFile(file: Blob, name: string): void {
    try {
      check(file);
    } catch (error) {
      return this.onRefused((error as Error).message);
    }
    this.url.value = "";
    this.set({ kind: "file", file, name });
  }

  /** Says beside the URL what the service found wrong with it; empty words take that back. */
  tell(words: string): void {
    setText(this.problem, words);
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
      const words = this.picture ? "The service will fetch the picture" : "Drop, paste or choose a picture";
      this.drop.replaceChildren(el("strong", {}, words), el("span", {}, "PNG, JPEG, WebP or AVIF, 20 MB at most"));
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

/** A name for the result that the API takes, from the picture's own. */
export function assetIdOf(picture: Picture): string {
  const name = picture.kind === "file" ? picture.name : (picture.url.split(/[?#]/)[0]!.split("/").pop() ?? "");
  const plain = name.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9._:-]+/g, "-").replace(/^-+|-+$/g, "");
  return plain.slice(0, 100) || "mesh";
}

function check(file: Blob): void {
  if (!TYPES.includes(file.type)) throw new NoPicture("This file is no PNG, JPEG, WebP or AVIF picture.");
  if (file.size > MAX_BYTES) throw new NoPicture(`The picture has ${bytes(file.size)}; 20 MB are the most.`);
}
