// The next job: its picture, its options, the button that sends it, and the commands that would do the same.

import { type Client, type FieldProblem, Problem } from "./api";
import { commandsFor } from "./commands";
import { CutoutPreview } from "./cutout_preview";
import { byId, copyText, el, setText } from "./dom";
import { showExamples } from "./examples";
import { fieldsOf, withModels } from "./fields";
import type { Accepted } from "./job";
import { Options } from "./options";
import { assetIdOf, type Picture, PictureInput } from "./picture";

/** What a job that is shown beside another has in common with it. */
export interface Shared {
  picture: Picture;
  seed: unknown;
  asset_id: string;
}

/** What a job was asked with. */
export interface Sent {
  picture: Picture;
  options: Record<string, unknown>;
}

export class Composer {
  readonly options = new Options();
  readonly input = new PictureInput();
  /** Called when a job was accepted. */
  onAccepted: (accepted: Accepted, sent: Sent, isBeside: boolean) => void = () => {};
  /** What a job beside the open one would share with it; null when none is open. */
  shared: () => Shared | null = () => null;

  private readonly preview: CutoutPreview;
  private readonly form = byId<HTMLFormElement>("composer");
  private readonly generate = byId<HTMLButtonElement>("generate");
  private readonly beside = byId<HTMLButtonElement>("beside");
  private readonly problem = byId("composer-problem");
  private isSending = false;
  private named = "";

  constructor(private readonly client: Client, private readonly hasKey: () => boolean) {
    this.preview = new CutoutPreview(client);
    byId("options").before(this.preview.element);
    byId("options").append(this.options.element);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit(false);
    });
    this.beside.addEventListener("click", () => void this.submit(true));
    byId("commands-button").addEventListener("click", () => this.showCommands());
    this.input.onRefused = (words) => this.tell(words);
    this.input.onChange = () => this.pictureChanged();
    showExamples((file, name) => this.input.takeFile(file, name));
    this.refresh();
  }

  /** Asks the service for its fields. */
  async load(): Promise<void> {
    if (this.options.element.childElementCount > 0) return;
    try {
      this.options.show(withModels(fieldsOf(await this.client.openapi()), await this.client.models()));
    } catch (error) {
      this.tell((error as Error).message);
    }
  }

  /** Makes the buttons right for what can be done now. */
  refresh(): void {
    this.generate.disabled = this.isSending;
    this.beside.hidden = this.shared() === null;
    this.beside.disabled = this.isSending;
  }

  /** Sends the job; beside the open one, with its picture and seed, or in its place. */
  async submit(isBeside: boolean): Promise<void> {
    const shared = isBeside ? this.shared() : null;
    const picture = shared?.picture ?? this.input.picture;
    this.tell("");
    if (!picture) {
      this.tell("A picture comes first: drop, paste or choose one, or give its URL.");
      return byId("drop").focus();
    }
    for (const group of this.form.querySelectorAll<HTMLDetailsElement>("details:has(:invalid)")) group.open = true;
    if (!this.form.reportValidity()) return;
    const inCommon = shared ? { seed: shared.seed, asset_id: shared.asset_id } : {};
    await this.send({ ...this.options.read(), ...inCommon }, picture, isBeside);
  }

  /** Sends a job with these options. */
  async send(options: Record<string, unknown>, picture: Picture, isBeside: boolean): Promise<void> {
    if (this.isSending) return;
    this.sending(true);
    try {
      const cutOut = picture === this.input.picture ? this.preview.accepted : null;
      const accepted = await (cutOut ? this.client.begin(options, cutOut) : this.client.submit(options, picture));
      this.onAccepted(accepted, { picture, options }, isBeside);
      this.options.tell([]);
      this.input.tell("");
    } catch (error) {
      this.refused(error as Error);
    } finally {
      this.sending(false);
    }
  }

  private pictureChanged(): void {
    this.tell("");
    const picture = this.input.picture;
    this.preview.show(picture);
    if (!picture) return;
    const asked = this.options.read()["asset_id"];
    // A name that somebody typed stays.
    if (asked !== undefined && asked !== this.named && asked !== "mesh") return;
    this.named = assetIdOf(picture);
    this.options.write({ asset_id: this.named });
  }

  private refused(error: Error): void {
    if (!(error instanceof Problem)) return this.tell(error.message);
    const ofPicture = (one: FieldProblem): boolean => this.input.knows(one.field);
    const homeless = this.options.tell(error.fields.filter((one) => !ofPicture(one)));
    const found = error.fields.find(ofPicture);
    this.input.tell(found?.detail ?? "", found?.field);
    const again = error.retryAfterS ? ` Try again in ${error.retryAfterS} s.` : "";
    if (error.fields.length === 0) return this.tell(`${error.detail || error.title}${again}`);
    this.tell(homeless.length ? homeless.join(" ") : "The service refused what is marked above.");
  }

  private tell(words: string): void {
    setText(this.problem, words);
    this.problem.hidden = words === "";
  }

  private sending(is: boolean): void {
    this.isSending = is;
    setText(this.generate, is ? "Sending…" : "Generate");
    this.refresh();
  }

  private showCommands(): void {
    const commands = commandsFor(this.options.read(), this.input.picture, location.origin, this.hasKey());
    const blocks = commands.map(({ title, text }) => {
      const code = el("code", {}, text);
      const copy = el("button", { type: "button", class: "quiet small" }, "Copy");
      copy.addEventListener("click", () => void copyText(text, code).then((is) => setText(copy, is ? "Copied" : "Selected: copy it")));
      return el("section", {}, el("header", {}, el("h3", {}, title), copy), el("pre", { tabindex: 0, "aria-label": `Command for ${title}` }, code));
    });
    byId("commands").replaceChildren(...blocks);
    byId<HTMLDialogElement>("commands-dialog").showModal();
  }
}
