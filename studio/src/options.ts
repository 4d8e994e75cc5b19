// The options of a job as a form: one control for each field of the API, under the API's own name.

import { el } from "./dom";
import type { Field } from "./fields";
import { Hint } from "./hint";

const GROUPS: { title: string; isOpen?: boolean; names: string[] }[] = [
  { title: "", names: ["quality", "format", "height_mm", "seed", "speed", "num_inference_steps", "remove_background"] },
  { title: "Print", names: ["flat_base", "require_printable", "target_faces", "max_bytes"] },
  { title: "Add to it", names: ["base", "hollow", "attach"] },
  { title: "Model", names: ["model", "sampler", "guidance_scale", "octree_resolution", "decode_mode", "mc_level", "num_chunks", "bounds"] },
  { title: "Names and delivery", names: ["session_id", "asset_id", "webhook_url", "webhook_format", "upload_url", "priority", "timeout_s"] },
];
/** The picture has a control of its own. */
const ELSEWHERE = ["image_url", "image_urls", "mask_url", "cut_out_id", "matting_model"];
/** What a number stands for when its field is left empty. */
const EMPTY_MEANS: Record<string, string> = {
  height_mm: "model units",
  seed: "drawn",
  num_inference_steps: "the model’s own",
  guidance_scale: "the model’s own",
  mc_level: "the model’s own",
  num_chunks: "the service’s own",
  bounds: "the model’s own",
  octree_resolution: "from quality",
};
const OWN_DEFAULTS: Record<string, string> = { session_id: "studio", asset_id: "mesh" };

interface Control {
  field: Field;
  row: HTMLElement;
  problem: HTMLElement;
  /** The value asked for; undefined where it is the default. */
  read(): unknown;
  write(value: unknown): void;
}

export class Options {
  readonly element = el("div", { class: "options" });
  onChange: () => void = () => {};
  private readonly controls = new Map<string, Control>();
  private readonly hint = new Hint();

  /** Lays out a control for each field. */
  show(fields: Field[]): void {
    const known = new Set([...ELSEWHERE, ...GROUPS.flatMap((group) => group.names)]);
    const more = fields.filter((field) => !known.has(field.name)).map((field) => field.name);
    this.controls.clear();
    for (const field of fields) if (!ELSEWHERE.includes(field.name)) this.controls.set(field.name, controlOf(field));
    for (const { row, field } of this.controls.values()) this.hint.explain(row, field.description);
    const groups = GROUPS.map((group) => (group.title === "Model" ? { ...group, names: [...group.names, ...more] } : group));
    this.element.replaceChildren(...groups.map((group) => this.group(group.title, group.names)));
    this.element.addEventListener("input", () => this.onChange());
  }

  get names(): string[] {
    return [...this.controls.keys()];
  }

  /** What was asked for, defaults left out. */
  read(): Record<string, unknown> {
    const asked = [...this.controls].map(([name, control]) => [name, control.read()] as const);
    return Object.fromEntries(asked.filter(([, value]) => value !== undefined));
  }

  /** Sets fields by name; names that have no control are left alone. */
  write(values: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(values)) this.controls.get(name)?.write(value);
    this.onChange();
  }

  /** Says beside each field what the service found wrong with it; gives back what found no field. */
  tell(problems: { field: string; detail: string }[]): string[] {
    const homeless: string[] = [];
    for (const control of this.controls.values()) this.mark(control, "");
    for (const { field, detail } of problems) {
      const [name = "", ...member] = field.split(".");
      const control = this.controls.get(name);
      if (control) this.mark(control, member.length ? `${member.join(".")}: ${detail}` : detail);
      else homeless.push(`${field}: ${detail}`);
    }
    this.element.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
    return homeless;
  }

  private mark(control: Control, problem: string): void {
    control.problem.textContent = problem;
    control.row.closest("details")?.toggleAttribute("open", problem !== "" || control.row.closest("details")!.open);
    for (const input of control.row.querySelectorAll("input")) {
      if (problem) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
  }

  private group(title: string, names: string[]): HTMLElement {
    const rows = names.flatMap((name) => this.controls.get(name)?.row ?? []);
    if (!title) return el("div", { class: "option-rows" }, ...rows);
    return el("details", { class: "option-group" }, el("summary", {}, title), el("div", { class: "option-rows" }, ...rows));
  }
}

function controlOf(field: Field): Control {
  const problem = el("p", { class: "field-problem", id: `problem-${field.name}` });
  if (field.kind === "choice") return choice(field, problem);
  if (field.kind === "object") return addition(field, problem);
  return field.kind === "boolean" ? toggle(field, problem) : input(field, problem);
}

function choice(field: Field, problem: HTMLElement): Control {
  const radios = field.choices.map((value) => el("input", { type: "radio", name: field.name, value, "aria-describedby": `help-${field.name}` }));
  const chips = radios.map((radio) => el("label", { class: "chip" }, radio, el("span", {}, radio.value)));
  const own = field.default === null ? (field.isNeeded ? (field.choices[0] ?? null) : null) : String(field.default);
  const write = (value: unknown): void => radios.forEach((radio) => (radio.checked = radio.value === String(value ?? own)));
  write(own);
  const name = el("code", { id: `name-${field.name}` }, field.name);
  const group = el("div", { class: "chips", role: "radiogroup", "aria-labelledby": name.id }, ...chips);
  const row = el("div", { class: "option choice" }, name, group, help(field), problem);
  return {
    field, row, problem, write,
    read: () => {
      const value = radios.find((radio) => radio.checked)?.value;
      return value === own ? undefined : value;
    },
  };
}

function toggle(field: Field, problem: HTMLElement): Control {
  const box = el("input", { type: "checkbox", role: "switch", name: field.name, id: `option-${field.name}`, "aria-describedby": `help-${field.name}` });
  const write = (value: unknown): void => void (box.checked = Boolean(value ?? field.default));
  write(null);
  const row = el("div", { class: "option toggle" }, el("label", { for: box.id }, el("code", {}, field.name)), box, help(field), problem);
  return { field, row, problem, write, read: () => (box.checked === Boolean(field.default) ? undefined : box.checked) };
}

/** A switch for the whole, and its members below while it is on. */
function addition(field: Field, problem: HTMLElement): Control {
  const members = field.members.map((member) => controlOf({ ...member, name: `${field.name}.${member.name}` }));
  const nameOf = (member: Control): string => member.field.name.slice(field.name.length + 1);
  const box = el("input", { type: "checkbox", role: "switch", name: field.name, id: `option-${field.name}`, "aria-describedby": `help-${field.name}` });
  const rows = el("div", { class: "option-rows members" }, ...members.map((member) => member.row));
  const show = (): void => void (rows.hidden = !box.checked);
  const write = (value: unknown): void => {
    box.checked = value != null;
    for (const member of members) member.write((value as Record<string, unknown> | null)?.[nameOf(member)] ?? null);
    show();
  };
  box.addEventListener("input", show);
  write(null);
  const line = el("div", { class: "option toggle" }, el("label", { for: box.id }, el("code", {}, field.name)), box, help(field), problem);
  const row = el("div", { class: "addition" }, line, rows);
  const valueOf = (member: Control): unknown => member.read() ?? (member.field.isNeeded ? member.field.choices[0] : undefined);
  return {
    field, row, problem, write,
    read: () => {
      const asked = members.map((member) => [nameOf(member), valueOf(member)] as const);
      return box.checked ? Object.fromEntries(asked.filter(([, value]) => value !== undefined)) : undefined;
    },
  };
}

function input(field: Field, problem: HTMLElement): Control {
  const isNumber = field.kind !== "text";
  const own = OWN_DEFAULTS[field.name];
  const box = el("input", {
    id: `option-${field.name}`, name: field.name, type: isNumber ? "number" : field.name.endsWith("_url") ? "url" : "text",
    step: field.kind === "integer" ? 1 : isNumber ? "any" : null, min: field.minimum, max: field.maximum,
    placeholder: field.default !== null ? shortened(field.default) : (EMPTY_MEANS[field.name] ?? "none"),
    value: own ?? null, required: own !== undefined, autocomplete: "off", spellcheck: "false",
    "aria-describedby": `help-${field.name} ${problem.id}`,
  });
  const row = el("div", { class: box.type === "url" ? "option wide" : "option" }, el("label", { for: box.id }, el("code", {}, field.name)), box, help(field), problem);
  return {
    field, row, problem,
    write: (value) => void (box.value = value == null ? (own ?? "") : String(value)),
    read: () => {
      const text = box.value.trim();
      if (text === "") return undefined;
      const value = isNumber ? exact(text) : text;
      return value === field.default ? undefined : value;
    },
  };
}

function help(field: Field): HTMLElement {
  return el("p", { class: "visually-hidden", id: `help-${field.name}` }, field.description);
}

function shortened(value: unknown): string {
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);
}

/** The number; a whole one that JavaScript would round stays text, which the service reads without loss. */
function exact(text: string): number | string {
  const value = Number(text);
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? text : value;
}
