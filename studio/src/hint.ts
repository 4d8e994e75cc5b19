// What a field means, shown beside it while it is pointed at or has the focus. Nothing on the page moves for it.

import { el, setText } from "./dom";

const GAP_PX = 14;
const WIDTH_PX = 260;

export class Hint {
  private readonly card = el("div", { class: "hint", "aria-hidden": "true", hidden: true });

  constructor() {
    document.body.append(this.card);
    document.addEventListener("scroll", () => this.hide(), { capture: true, passive: true });
  }

  /** Shows `words` whenever `row` is pointed at or has the focus. Screen readers find them by aria-describedby. */
  explain(row: HTMLElement, words: string): void {
    if (!words) return;
    const show = (): void => this.show(row, words);
    const hide = (): void => this.hide();
    row.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show());
    row.addEventListener("pointerleave", hide);
    row.addEventListener("focusin", show);
    row.addEventListener("focusout", hide);
  }

  private show(row: HTMLElement, words: string): void {
    setText(this.card, words);
    this.card.hidden = false;
    const at = row.getBoundingClientRect();
    const isRoomBeside = at.right + GAP_PX + WIDTH_PX < window.innerWidth;
    const left = isRoomBeside ? at.right + GAP_PX : at.left;
    const top = isRoomBeside ? at.top + at.height / 2 - this.card.offsetHeight / 2 : at.bottom + 4;
    this.card.style.width = `${isRoomBeside ? WIDTH_PX : at.width}px`;
    this.card.style.transform = `translate(${Math.round(left)}px, ${Math.round(Math.max(8, top))}px)`;
  }

  private hide(): void {
    this.card.hidden = true;
  }
}
