// The API key of this tab, and the dialog that asks for it: the same on every page that has a #key-button.

import type { Problem } from "./api";
import { byId, el, setText } from "./dom";

const KEPT_AS = "ai-engine-key";

/** The API key, kept as long as the tab is open. */
export class Keyring {
  /** Called when somebody gave a key, or took it away. */
  onChange: () => void = () => {};
  private readonly field = el("input", { id: "key-field", type: "password", autocomplete: "off", spellcheck: "false", placeholder: "aie_…" });
  private readonly why = el("p", { id: "key-why", class: "field-problem", role: "alert" });
  private readonly dialog = this.makeDialog();

  constructor() {
    document.body.append(this.dialog);
    byId("key-button").addEventListener("click", () => this.ask());
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

  private makeDialog(): HTMLDialogElement {
    const submit = (event: Event) => {
      event.preventDefault();
      this.keep(this.field.value.trim());
    };
    return el(
      "dialog",
      { id: "key-dialog", "aria-labelledby": "key-title" },
      el(
        "form",
        { id: "key-form", onsubmit: submit },
        el("h2", { id: "key-title" }, "API key"),
        el("p", {}, "Needed where the service has keys. It is kept for this tab only, and goes to this service only."),
        this.why,
        el("label", { for: "key-field", class: "visually-hidden" }, "Key"),
        this.field,
        el(
          "div",
          { class: "dialog-actions" },
          el("button", { type: "button", id: "key-forget", class: "quiet", onclick: () => this.keep("") }, "Forget"),
          el("button", { type: "button", class: "quiet", onclick: () => this.dialog.close() }, "Close"),
          el("button", { type: "submit", class: "solid" }, "Use this key"),
        ),
      ),
    );
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
