// The jobs of late, newest first, each with its picture.

import { type Client, Problem } from "./api";
import { byId, el } from "./dom";
import { ago, isOver, STATUS_WORDS, type Status } from "./job";

const ON_A_PAGE = 24;
const LOOK_EVERY_S = 20;
const TYPING_PAUSE_MS = 350;
/** Jobs that ended in one of these have a cut-out. */
const WITH_CUTOUT = ["denoise", "decode", "finish"];

export interface Listed {
  job_id: string;
  session_id: string;
  asset_id: string;
  status: Status;
  created_at: string;
  error: { stage: string } | null;
}

export interface RecentActions {
  open(id: string): void;
  openBeside(id: string): void;
}

export class Recent {
  private readonly list = byId("recent-list");
  private readonly words = byId("recent-words");
  private readonly more = byId<HTMLButtonElement>("recent-more");
  private readonly session = byId<HTMLInputElement>("recent-session");
  private readonly sessions = byId<HTMLDataListElement>("sessions");
  private readonly thumbnails = new Map<string, string>();
  private readonly cards = new Map<string, { card: HTMLElement; status: Status }>();
  private cursor: string | null = null;
  private shown: string[] = [];

  constructor(private readonly client: Client, private readonly actions: RecentActions) {
    let typing = 0;
    this.session.addEventListener("input", () => {
      clearTimeout(typing);
      typing = window.setTimeout(() => void this.refresh(), TYPING_PAUSE_MS);
    });
    this.more.addEventListener("click", () => void this.load(this.cursor));
    setInterval(() => document.hidden || void this.refresh(), LOOK_EVERY_S * 1000);
  }

  /** Reads the newest jobs again. */
  async refresh(): Promise<void> {
    await this.load(null);
  }

  /** Marks the cards of the jobs that are open. */
  mark(open: string[]): void {
    this.shown = open;
    for (const [id, { card }] of this.cards) card.classList.toggle("is-open", open.includes(id));
  }

  private async load(cursor: string | null): Promise<void> {
    const session = this.session.value.trim();
    try {
      const page = await this.client.jobs({
        limit: ON_A_PAGE,
        ...(session ? { session_id: session } : {}),
        ...(cursor ? { cursor } : {}),
      });
      this.show(page.jobs, cursor !== null);
      this.cursor = page.next_cursor;
      this.more.hidden = page.next_cursor === null;
      this.words.textContent = this.list.childElementCount ? "" : session ? "No jobs of this session." : "Jobs will be listed here.";
    } catch (error) {
      this.words.textContent = error instanceof Problem && error.status === 422 ? "No session has such a name." : (error as Error).message;
    }
  }

  private show(jobs: Listed[], isMore: boolean): void {
    const cards = jobs.map((job) => this.card(job));
    if (isMore) this.list.append(...cards);
    else if (!same(this.list, cards)) this.list.replaceChildren(...cards);
    const names = new Set([...[...this.sessions.options].map((one) => one.value), ...jobs.map((job) => job.session_id)]);
    if (names.size !== this.sessions.options.length) this.sessions.replaceChildren(...[...names].map((value) => el("option", { value })));
    this.mark(this.shown);
  }

  private card(job: Listed): HTMLElement {
    const known = this.cards.get(job.job_id);
    if (known?.status === job.status) {
      known.card.querySelector(".card-facts")!.lastChild!.textContent = factsOf(job);
      return known.card;
    }
    const image = el("div", { class: "thumbnail", "data-status": job.status });
    const open = el(
      "button",
      { type: "button", class: "card-open", onclick: () => this.actions.open(job.job_id) },
      image,
      el("span", { class: "card-name" }, job.asset_id),
      el("span", { class: "visually-hidden" }, unseenOf(job)),
      el("span", { class: "card-facts", title: job.created_at }, el("span", { class: "status-dot", "data-status": job.status }), factsOf(job)),
    );
    const beside = el("button", { type: "button", class: "card-beside", onclick: () => this.actions.openBeside(job.job_id), "aria-label": `Beside the open job: ${job.asset_id}` }, "Beside");
    beside.hidden = job.status !== "succeeded";
    const card = el("li", { class: "card", "data-job": job.job_id }, open, beside);
    this.cards.set(job.job_id, { card, status: job.status });
    if (isOver(job.status)) void this.thumbnail(job, image);
    return card;
  }

  private async thumbnail(job: Listed, image: HTMLElement): Promise<void> {
    const name = job.status === "succeeded" ? "preview.png" : "cutout.png";
    const hasPicture = job.status === "succeeded" || WITH_CUTOUT.includes(job.error?.stage ?? "");
    if (!hasPicture) return image.classList.add("is-bare");
    try {
      const known = this.thumbnails.get(job.job_id) ?? URL.createObjectURL(await this.client.file(job.job_id, name));
      this.thumbnails.set(job.job_id, known);
      image.replaceChildren(el("img", { src: known, alt: "", loading: "lazy" }));
    } catch {
      image.classList.add("is-bare");
    }
  }
}

function factsOf(job: Listed): string {
  return job.status === "succeeded" ? ago(job.created_at) : STATUS_WORDS[job.status];
}

/** For screen readers, between the name and the facts: what others see by the card's place and its dot. */
function unseenOf(job: Listed): string {
  const outcome = job.status === "succeeded" ? ` ${STATUS_WORDS.succeeded},` : "";
  return `in session ${job.session_id},${outcome}`;
}

function same(list: HTMLElement, cards: HTMLElement[]): boolean {
  return list.childElementCount === cards.length && cards.every((card, at) => list.children[at] === card);
}
