// How meshes are looked at: the same for both panes.

import { el } from "./dom";
import type { Units } from "./job";
import { FIRST_LOOK, type Look } from "./viewer";

interface Toggle {
  name: keyof Look;
  words: string;
  key: string;
}

const TOGGLES: Toggle[] = [
  { name: "smooth", words: "Smooth", key: "s" },
  { name: "wireframe", words: "Wireframe", key: "w" },
  { name: "plate", words: "Plate", key: "p" },
  { name: "box", words: "Box", key: "b" },
  { name: "turntable", words: "Turntable", key: "t" },
];

export class Toolbar {
  onChange: (look: Look) => void = () => {};
  private look: Look = FIRST_LOOK;
  private readonly note = el("span", { class: "toolbar-note" });
  private readonly buttons = new Map<string, HTMLButtonElement>();

  constructor(private readonly element: HTMLElement, private readonly home: () => void) {
    for (const toggle of TOGGLES) this.add(toggle.words, toggle.key, () => this.toggle(toggle.name));
    this.add("Reset view", "f", home);
    element.append(el("div", { class: "toolbar-buttons" }, ...this.buttons.values()), this.note);
    this.mark();
  }

  /** Fits the meshes that are shown; hidden when there are none. */
  render(units: Units[]): void {
    this.element.hidden = units.length === 0;
    const isMm = units.includes("mm");
    this.note.textContent = isMm ? "Plate: a line every 10 mm, strong every 50" : "Model units. Give height_mm for millimetres";
  }

  /** Does what this key stands for, if anything. */
  key(key: string): void {
    const toggle = TOGGLES.find((one) => one.key === key);
    if (toggle) this.toggle(toggle.name);
    if (key === "f") this.home();
  }

  private add(words: string, key: string, act: () => void): void {
    this.buttons.set(key, el("button", { type: "button", title: `Key ${key.toUpperCase()}`, onclick: act }, words));
  }

  private toggle(name: keyof Look): void {
    this.look = { ...this.look, [name]: !this.look[name] };
    this.mark();
    this.onChange(this.look);
  }

  private mark(): void {
    for (const { name, key } of TOGGLES) this.buttons.get(key)!.setAttribute("aria-pressed", String(this.look[name]));
  }
}
