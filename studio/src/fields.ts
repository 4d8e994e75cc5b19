// The fields of a request, read from the service's own OpenAPI document: names, limits, defaults and words have one
// source, and a field that the service learns appears here by itself.

import type { components } from "./api_schema";

type ServedModels = components["schemas"]["ServedModels"];

export interface Field {
  name: string;
  kind: "choice" | "choices" | "boolean" | "integer" | "number" | "text" | "object";
  /** Of an object: its own fields. */
  members: Field[];
  isNeeded: boolean;
  choices: string[];
  default: unknown;
  minimum: number | null;
  maximum: number | null;
  description: string;
}

type Schema = {
  $ref?: string;
  type?: string;
  enum?: unknown[];
  items?: Schema;
  anyOf?: Schema[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
};

interface Document {
  paths: Record<string, { post?: { requestBody?: { content: Record<string, { schema: Schema }> } } }>;
}

/** The fields of a POST to `path`, in the order of the document. */
export function fieldsOf(document: unknown, path = "/generate-3d"): Field[] {
  const body = (document as Document).paths[path]?.post?.requestBody?.content["application/json"];
  const schema = resolved(document, body?.schema ?? {});
  return fieldsIn(document, schema);
}

/** The fields with the shape models that are served to choose from; without the field where there is no choice. */
export function withModels(fields: Field[], served: ServedModels): Field[] {
  const choices = served.models.map((one) => one.name);
  if (choices.length < 2) return fields.filter((field) => field.name !== "model");
  const choose = { kind: "choice" as const, choices, default: served.default };
  return fields.map((field) => (field.name === "model" ? { ...field, ...choose } : field));
}

function fieldsIn(document: unknown, schema: Schema): Field[] {
  const needed = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).map(([name, one]) => fieldOf(document, name, one, needed.includes(name)));
}

function fieldOf(document: unknown, name: string, schema: Schema, isNeeded: boolean): Field {
  const all = [schema, ...(schema.anyOf ?? [])].map((one) => resolved(document, one));
  const found = <K extends keyof Schema>(key: K): Schema[K] | undefined => all.find((one) => one[key] !== undefined)?.[key];
  const items = resolved(document, found("items") ?? {}).enum;
  const choices = (items ?? found("enum") ?? []).map(String);
  const type = all.find((one) => one.type && one.type !== "null")?.type;
  const members = all.filter((one) => one.properties).flatMap((one) => fieldsIn(document, one));
  const isPlain = type === "boolean" || type === "integer" || type === "number";
  const kind = members.length ? "object" : items ? "choices" : choices.length ? "choice" : isPlain ? type : "text";
  return {
    name,
    kind,
    members,
    isNeeded,
    choices,
    default: schema.default ?? null,
    minimum: found("minimum") ?? null,
    maximum: found("maximum") ?? null,
    description: schema.description ?? "",
  };
}

function resolved(document: unknown, schema: Schema): Schema {
  if (!schema.$ref?.startsWith("#/")) return schema;
  const path = schema.$ref.slice(2).split("/");
  const target = path.reduce<unknown>((at, name) => (at as Record<string, unknown>)?.[name], document);
  return { ...(target as Schema), ...schema };
}
