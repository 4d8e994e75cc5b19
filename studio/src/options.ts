// The options of a job as a form: one control for each field of the API, under the API's own name.

import { el } from "./dom";
import type { Field } from "./fields";
import { Hint } from "./hint";

interface Group {
  title: string;
  names: string[];
}

const GROUPS: Group[] = [
  { title: "", names: ["quality", "format", "height_mm", "seed", "speed", "num_inference_steps", "remove_background"] },
  { title: "Print", names: ["formats", "flat_base", "require_printable", "target_faces", "max_bytes", "slice"] },
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

  /** `prefix` keeps the names of two forms on one page apart. Of fields that no group names the group Model has the rest. */
  constructor(private readonly prefix = "", private readonly groups = GROUPS) {}

  /** Lays out a control for each field. */
  show(fields: Field[]): void {
    const known = new Set([...ELSEWHERE, ...this.groups.flatMap((group) => group.names)]);
    const hasRest = this.groups.some((group) => group.title === "Model");
    const more = fields.filter((field) => !known.has(field.name)).map((field) => field.name);
    this.controls.clear();
    const shown = fields.filter((field) => !ELSEWHERE.includes(field.name) && (hasRest || known.has(field.name)));
    for (const field of shown) this.controls.set(field.name, controlOf(field, this.prefix));
    for (const { row, field } of this.controls.values()) this.hint.explain(row, field.description);
    const groups = this.groups.map((group) => (group.title === "Model" ? { ...group, names: [...group.names, ...more] } : group));
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

function controlOf(field: Field, prefix: string): Control {
  const problem = el("p", { class: "field-problem", id: `${prefix}problem-${field.name}` });
  if (field.kind === "choice") return choice(field, problem, prefix);
  if (field.kind === "choices") return choices(field, problem, prefix);
  if (field.kind === "object") return addition(field, problem, prefix);
  if (field.name.endsWith(".mesh_url")) return meshInput(field, problem, prefix);
  return field.kind === "boolean" ? toggle(field, problem, prefix) : input(field, problem, prefix);
}

/** A mesh by its URL, or a file that is sent inside the request. */
function meshInput(field: Field, problem: HTMLElement, prefix: string): Control {
  const control = input(field, problem, prefix);
  const box = control.row.querySelector("input")!;
  const file = el("input", { type: "file", accept: ".stl,.3mf", class: "mesh-file", "aria-label": `File for ${field.name}` });
  let embedded = { name: "", url: "" };
  box.type = "text";
  box.placeholder = "a URL, or a file:";
  file.addEventListener("change", () => {
    const chosen = file.files?.[0];
    if (!chosen) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      embedded = { name: chosen.name, url: String(reader.result) };
      box.value = chosen.name;
    });
    reader.readAsDataURL(chosen);
  });
  box.after(file);
  return { ...control, read: () => (embedded.name && box.value === embedded.name ? embedded.url : control.read()) };
}

/** Several of the choices; none is the default. The one that was chosen first stays first. */
function choices(field: Field, problem: HTMLElement, prefix: string): Control {
  let chosen: string[] = [];
  const boxes = field.choices.map((value) => el("input", { type: "checkbox", name: prefix + field.name, value, "aria-describedby": `${prefix}help-${field.name}` }));
  for (const box of boxes) {
    box.addEventListener("input", () => (chosen = [...chosen.filter((one) => one !== box.value), ...(box.checked ? [box.value] : [])]));
  }
  const chips = boxes.map((box) => el("label", { class: "chip" }, box, el("span", {}, box.value)));
  const name = el("code", { id: `${prefix}name-${field.name}` }, field.name);
  const group = el("div", { class: "chips", role: "group", "aria-labelledby": name.id }, ...chips);
  const row = el("div", { class: "option choice" }, name, group, help(field, prefix), problem);
  return {
    field, row, problem,
    write: (value) => {
      chosen = Array.isArray(value) ? value.map(String) : [];
      for (const box of boxes) box.checked = chosen.includes(box.value);
    },
    read: () => (chosen.length ? chosen : undefined),
  };
}

function choice(field: Field, problem: HTMLElement, prefix: string): Control {
  const radios = field.choices.map((value) => el("input", { type: "radio", name: prefix + field.name, value, "aria-describedby": `${prefix}help-${field.name}` }));
  const chips = radios.map((radio) => el("label", { class: "chip" }, radio, el("span", {}, radio.value)));
  const own = field.default === null ? (field.isNeeded ? (field.choices[0] ?? null) : null) : String(field.default);
  const write = (value: unknown): void => radios.forEach((radio) => (radio.checked = radio.value === String(value ?? own)));
  write(own);
  const name = el("code", { id: `${prefix}name-${field.name}` }, field.name);
  const group = el("div", { class: "chips", role: "radiogroup", "aria-labelledby": name.id }, ...chips);
  const row = el("div", { class: "option choice" }, name, group, help(field, prefix), problem);
  return {
    field, row, problem, write,
    read: () => {
      const value = radios.find((radio) => radio.checked)?.value;
      return value === own ? undefined : value;
    },
  };
}

function toggle(field: Field, problem: HTMLElement, prefix: string): Control {
  const box = el("input", { type: "checkbox", role: "switch", name: prefix + field.name, id: `${prefix}option-${field.name}`, "aria-describedby": `${prefix}help-${field.name}` });
  const write = (value: unknown): void => void (box.checked = Boolean(value ?? field.default));
  write(null);
  const row = el("div", { class: "option toggle" }, el("label", { for: box.id }, el("code", {}, field.name)), box, help(field, prefix), problem);
  return { field, row, problem, write, read: () => (box.checked === Boolean(field.default) ? undefined : box.checked) };
}

/** A switch for the whole, and its members below while it is on. */
function addition(field: Field, problem: HTMLElement, prefix: string): Control {
  const members = field.members.map((member) => controlOf({ ...member, name: `${field.name}.${member.name}` }, prefix));
  const nameOf = (member: Control): string => member.field.name.slice(field.name.length + 1);
  const box = el("input", { type: "checkbox", role: "switch", name: prefix + field.name, id: `${prefix}option-${field.name}`, "aria-describedby": `${prefix}help-${field.name}` });
  const rows = el("div", { class: "option-rows members" }, ...members.map((member) => member.row));
  const show = (): void => void (rows.hidden = !box.checked);
  const write = (value: unknown): void => {
    box.checked = value != null;
    for (const member of members) member.write((value as Record<string, unknown> | null)?.[nameOf(member)] ?? null);
    show();
  };
  box.addEventListener("input", show);
  write(null);
  const line = el("div", { class: "option toggle" }, el("label", { for: box.id }, el("code", {}, field.name)), box, help(field, prefix), problem);
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

function input(field: Field, problem: HTMLElement, prefix: string): Control {
  const isNumber = field.kind !== "text";
  const own = OWN_DEFAULTS[field.name];
  const box = el("input", {
    id: `${prefix}option-${field.name}`, name: prefix + field.name, type: isNumber ? "number" : field.name.endsWith("_url") ? "url" : "text",
    step: field.kind === "integer" ? 1 : isNumber ? "any" : null, min: field.minimum, max: field.maximum,
    placeholder: field.default !== null ? shortened(field.default) : (EMPTY_MEANS[field.name] ?? "none"),
    value: own ?? null, required: own !== undefined, autocomplete: "off", spellcheck: "false",
    "aria-describedby": `${prefix}help-${field.name} ${problem.id}`,
  });
  const row = el("div", { class: box.type === "url" ? "option wide" : "option" }, el("label", { for: box.id }, el("code", {}, field.name)), box, help(field, prefix), problem);
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

function help(field: Field, prefix: string): HTMLElement {
  return el("p", { class: "visually-hidden", id: `${prefix}help-${field.name}` }, field.description);
}

function shortened(value: unknown): string {
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);
}

/** The number; a whole one that JavaScript would round stays text, which the service reads without loss. */
function exact(text: string): number | string {
  const value = Number(text);
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? text : value;
}
