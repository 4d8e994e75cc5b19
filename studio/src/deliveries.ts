// The attempts to bring a job's outcome to its webhook.

import { el } from "./dom";
import { ago, type Delivery, isOver, type JobView } from "./job";

export class Deliveries {
  readonly element = el("section", { class: "panel deliveries", "aria-labelledby": "deliveries-title", hidden: true });

  private readonly again: HTMLButtonElement;
  private readonly list = el("ol", { class: "attempt-list" });

  constructor(redeliver: () => void) {
    this.again = el("button", { type: "button", class: "quiet small", onclick: redeliver }, "Redeliver");
    this.element.append(el("header", {}, el("h2", { id: "deliveries-title" }, "Deliveries"), this.again), this.list);
  }

  render(job: JobView | null): void {
    const attempts = job?.deliveries ?? [];
    this.element.hidden = attempts.length === 0;
    this.again.hidden = !job || !isOver(job.status);
    this.list.replaceChildren(...attempts.map(attempt));
  }
}

function attempt(one: Delivery): HTMLElement {
  const answer = [one.status === null ? null : `HTTP ${one.status}`, saysMore(one) && one.detail].filter(Boolean).join(" · ");
  return el(
    "li",
    { "data-state": one.state },
    el("span", { class: "attempt-number" }, `#${one.attempt}`),
    el("span", { class: "attempt-state" }, one.state),
    el("span", { class: "attempt-time" }, one.at ? whenOf(one.at) : ""),
    answer ? el("span", { class: "attempt-answer" }, answer) : null,
  );
}

/** False where the detail only says again how it went or which status came. */
function saysMore({ state, status, detail }: Delivery): boolean {
  return detail !== state && !detail?.endsWith(`answered ${status}`);
}

function whenOf(moment: string): string {
  const aheadS = (Date.parse(moment) - Date.now()) / 1000;
  if (aheadS < 1) return ago(moment);
  return aheadS < 90 ? `in ${Math.round(aheadS)} s` : `in ${Math.round(aheadS / 60)} min`;
}
