// The key of this tab, and how the service is: ready, busy, starting, away; and which model it has.

import type { Client, Problem } from "./api";
import { byId, setText } from "./dom";
import { demoWords } from "./job";

const KEPT_AS = "ai-engine-key";
const LOOK_EVERY_S = 20;
const LOOK_SOON_S = 3;

/** The API key, kept as long as the tab is open. */
export class Keyring {
  /** Called when somebody gave a key, or took it away. */
  onChange: () => void = () => {};
  private readonly dialog = byId<HTMLDialogElement>("key-dialog");
  private readonly field = byId<HTMLInputElement>("key-field");
  private readonly why = byId("key-why");

  constructor() {
    byId("key-button").addEventListener("click", () => this.ask());
    byId("key-forget").addEventListener("click", () => this.keep(""));
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.keep(this.field.value.trim());
    });
    this.mark();
  }

  get key(): string | null {
    return sessionStorage.getItem(KEPT_AS);
  }

  /** Opens the dialog, unless it is open. */
  ask(problem?: Problem): void {
    setText(this.why, problem ? problem.detail || problem.title : "");
    if (this.dialog.open) return;
    this.field.value = this.key ?? "";
    this.dialog.showModal();
  }

  private keep(key: string): void {
    if (key) sessionStorage.setItem(KEPT_AS, key);
    else sessionStorage.removeItem(KEPT_AS);
    this.dialog.close();
    this.mark();
    this.onChange();
  }

  private mark(): void {
    byId("key-button").classList.toggle("is-set", this.key !== null);
    setText(byId("key-button"), this.key ? "API key set" : "API key");
  }
}

/** Shows the service's state in the header, and says so when its model is for trying only. */
export class ServiceState {
  private readonly chip = byId("service-state");
  private readonly notice = byId("demo-notice");
  private timer = 0;

  constructor(private readonly client: Client) {}

  async look(): Promise<void> {
    clearTimeout(this.timer);
    let isWell = false;
    try {
      const { model, gpu } = await this.client.health();
      isWell = model !== null;
      this.show(isWell ? "ready" : await this.client.readiness(), isWell ? `${model} · ${gpu ? "GPU" : "CPU"}` : "");
      this.tellDemo(model);
    } catch {
      this.show("away", "");
    }
    this.timer = window.setTimeout(() => void this.look(), (isWell ? LOOK_EVERY_S : LOOK_SOON_S) * 1000);
  }

  private show(state: string, model: string): void {
    this.chip.dataset["state"] = state.split(" ")[0];
    const words: Record<string, string> = { ready: "Ready", away: "Can’t be reached", failed: "The worker failed to start" };
    const said = words[state] ?? state.charAt(0).toUpperCase() + state.slice(1);
    setText(this.chip, model ? `${said} · ${model}` : said);
  }

  private tellDemo(model: string | null): void {
    const words = demoWords(model);
    this.notice.hidden = words === null;
    if (words) setText(this.notice, words);
  }
}
