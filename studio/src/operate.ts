// The page for operators: the queue of each model, the workers and what they do, failures, dead deliveries, the disk.

import { Client, type DeliveryPage, type Operations } from "./api";
import { byId, el, setText } from "./dom";
import { ago, bytes, seconds, STAGE_WORDS, type Stage } from "./job";
import { Keyring } from "./keyring";
import { watchTheme } from "./theme";

const LOOK_EVERY_MS = 3000;
const DEAD_SHOWN = 25;

type Worker = Operations["workers"][number];
type Cell = Node | string;

class Operate {
  private readonly keys = new Keyring();
  private readonly client = new Client(() => this.keys.key);
  private readonly again = byId<HTMLButtonElement>("redeliver");
  private timer = 0;

  start(): void {
    watchTheme(() => {});
    this.client.onKeyNeeded = (problem) => this.keys.ask(problem);
    this.keys.onChange = () => void this.look();
    this.again.addEventListener("click", () => void this.redeliver());
    void this.look();
  }

  /** Reads all anew, and again after a while; not while the page is hidden. */
  private async look(): Promise<void> {
    clearTimeout(this.timer);
    if (!document.hidden) await this.read();
    this.timer = window.setTimeout(() => void this.look(), LOOK_EVERY_MS);
  }

  private async read(): Promise<void> {
    try {
      const [now, dead] = await Promise.all([this.client.operations(), this.client.deadDeliveries(DEAD_SHOWN)]);
      this.show(now);
      this.showDead(dead);
    } catch (error) {
      this.say("away", (error as Error).message);
    }
  }

  private say(state: string, words: string): void {
    byId("state").dataset["state"] = state;
    setText(byId("state"), words);
  }

  private show(now: Operations): void {
    const ready = now.workers.filter((one) => one.is_alive && one.state === "ready").length;
    this.say(ready ? "ready" : "failed", `${counted(ready, "worker")} ready · ${counted(now.deliveries_waiting, "delivery", "deliveries")} waiting · version ${now.version}`);
    fill("queues", ["Model", "Waiting", "Running", "Oldest waits"], now.queues.map((one) => [one.model, String(one.queued), String(one.running), one.oldest_waiting_s == null ? "–" : seconds(one.oldest_waiting_s, 0)]), "No model is served.");
    fill("workers", ["Worker", "State", "Model", "Device", "Does"], now.workers.map(workerRow), "No worker is there.");
    fill("failures", ["Code", "Jobs"], now.failures.map((one) => [code(one.code), String(one.jobs)]), "No job has failed.");
    this.showDisk(now.disk);
  }

  private showDisk({ free_bytes, needed_bytes }: Operations["disk"]): void {
    const isFull = free_bytes < needed_bytes;
    const words = isFull ? "No job is taken until there is more." : `Jobs are taken while ${gigabytes(needed_bytes)} are free.`;
    byId("disk").replaceChildren(el("p", { class: isFull ? "bad" : "" }, el("strong", {}, `${gigabytes(free_bytes)} free. `), words));
  }

  private showDead({ deliveries, next_cursor }: DeliveryPage): void {
    this.again.hidden = deliveries.length === 0;
    const rows = deliveries.map(({ job_id, session_id, asset_id, last }) => [
      el("a", { href: `/#job=${job_id}` }, asset_id),
      session_id,
      String(last.attempt),
      last.status === null ? (last.detail ?? "–") : `HTTP ${last.status}`,
      last.at ? ago(last.at) : "–",
    ]);
    fill("dead", ["Job", "Session", "Attempts", "Answer", "Last"], rows, "None: every delivery was made, or is still tried.");
    if (next_cursor) byId("dead").append(el("p", { class: "soft" }, `The newest ${DEAD_SHOWN}; there are more.`));
  }

  private async redeliver(): Promise<void> {
    this.again.disabled = true;
    try {
      const { redelivered, refused, has_more } = await this.client.redeliverDead();
      const refusals = refused.length ? ` ${refused.length} refused: ${[...new Set(refused.map((one) => one.code))].join(", ")}.` : "";
      setText(byId("redelivered"), `${counted(redelivered.length, "delivery", "deliveries")} sent again.${refusals}${has_more ? " There are more." : ""}`);
    } catch (error) {
      setText(byId("redelivered"), (error as Error).message);
    }
    this.again.disabled = false;
    await this.look();
  }
}

function workerRow(worker: Worker): Cell[] {
  const state = worker.is_alive ? worker.state : "dead";
  const loading = worker.is_alive && worker.state === "loading" ? ` ${Math.floor(100 * worker.loaded)} %` : "";
  return [worker.worker, el("span", { class: `worker-state ${state}` }, state + loading), worker.model_id ?? "–", device(worker), work(worker)];
}

function device({ has_gpu, busy_share, memory_peak_bytes }: Worker): string {
  const busy = busy_share === null ? null : `${Math.round(100 * busy_share)} % busy`;
  const memory = memory_peak_bytes === null ? null : `peak ${bytes(memory_peak_bytes)}`;
  return [has_gpu ? "GPU" : "CPU", busy, memory].filter(Boolean).join(", ");
}

function work({ is_alive, jobs, last_sign_of_life_s }: Worker): Cell {
  if (!is_alive) return `silent for ${seconds(last_sign_of_life_s, 0)}`;
  if (jobs.length === 0) return "idle";
  const items = jobs.map(({ job_id, owner, stage, progress }) => {
    const does = STAGE_WORDS[stage as Stage]?.name ?? stage;
    return el("li", {}, el("a", { href: `/#job=${job_id}` }, job_id.slice(0, 8)), ` ${does}, ${Math.floor(100 * progress)} %${owner ? `, ${owner}` : ""}`);
  });
  return el("ul", {}, ...items);
}

function gigabytes(value: number): string {
  return `${(value / 1e9).toFixed(1)} GB`;
}

function code(text: string): Node {
  return el("code", {}, text);
}

function counted(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** Puts a table into the element, or says that there is nothing. */
function fill(id: string, head: string[], rows: Cell[][], nothing: string): void {
  if (rows.length === 0) {
    byId(id).replaceChildren(el("p", { class: "soft" }, nothing));
    return;
  }
  const cells = rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))));
  const heads = head.map((name) => el("th", { scope: "col" }, name));
  byId(id).replaceChildren(el("table", { class: "operate-table" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...cells)));
}

new Operate().start();
