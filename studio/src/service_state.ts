// How the service is: ready, busy, starting, away; and which model it has.

import type { Client } from "./api";
import { byId, setText } from "./dom";
import { demoWords } from "./job";

const LOOK_EVERY_S = 20;
const LOOK_SOON_S = 3;

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
