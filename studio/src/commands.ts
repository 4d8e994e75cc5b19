// The same request as commands to copy: for curl, and for PowerShell 5.1 and 7.

import { partsOf, type Picture } from "./picture";

export interface Command {
  title: string;
  text: string;
}

/** The request as commands. The key is never written into them: they read it from AI_ENGINE_KEY. */
export function commandsFor(
  request: Record<string, unknown>,
  picture: Picture | null,
  origin: string,
  needsKey: boolean,
): Command[] {
  request = JSON.parse(JSON.stringify(request, shortened)) as Record<string, unknown>;
  return [
    { title: "curl", text: curl(request, picture, origin, needsKey) },
    { title: "PowerShell", text: powershell(request, picture, origin, needsKey) },
  ];
}

function curl(request: Record<string, unknown>, picture: Picture | null, origin: string, needsKey: boolean): string {
  const lines = [`curl -X POST ${origin}/generate-3d`];
  if (needsKey) lines.push(`-H "Authorization: Bearer $AI_ENGINE_KEY"`);
  if (picture && picture.kind !== "url") {
    for (const [part, { name }] of partsOf(picture)) lines.push(`-F ${shell(`${part}=@${name}`)}`);
    // As strings: a semicolon would end the value of -F.
    for (const [name, value] of Object.entries(request)) lines.push(`--form-string ${shell(`${name}=${typeof value === "object" ? JSON.stringify(value) : value}`)}`);
  } else {
    lines.push(`-H 'Content-Type: application/json'`);
    lines.push(`-d ${shell(JSON.stringify({ ...request, image_url: urlOf(picture) }, null, 2))}`);
  }
  return lines.join(" \\\n  ");
}

function powershell(request: Record<string, unknown>, picture: Picture | null, origin: string, needsKey: boolean): string {
  const lines: string[] = [];
  const members = Object.entries(request).map(([name, value]) => `  ${name} = ${literal(value)}`);
  if (picture?.kind === "file") {
    lines.push(`$bytes = [IO.File]::ReadAllBytes((Resolve-Path ${literal(picture.name)}))`);
    members.push(`  image_url = "data:${picture.file.type};base64," + [Convert]::ToBase64String($bytes)`);
  } else if (picture?.kind === "views") {
    const views = partsOf(picture).map(([view, { file, name }]) => `    ${view} = "data:${file.type};base64," + [Convert]::ToBase64String([IO.File]::ReadAllBytes((Resolve-Path ${literal(name)})))`);
    members.push("  image_urls = @{", ...views, "  }");
  } else {
    members.push(`  image_url = ${literal(urlOf(picture))}`);
  }
  lines.push("$job = @{", ...members, "}");
  lines.push(`Invoke-RestMethod -Method Post -Uri ${origin}/generate-3d \``);
  if (needsKey) lines.push(`  -Headers @{ Authorization = "Bearer $env:AI_ENGINE_KEY" } \``);
  lines.push("  -ContentType application/json -Body ($job | ConvertTo-Json)");
  return lines.join("\n");
}

/** A file inside the request is too long to be shown. */
function shortened(_: string, value: unknown): unknown {
  return typeof value === "string" && value.startsWith("data:") ? `${value.slice(0, value.indexOf(",") + 1)}...` : value;
}

function urlOf(picture: Picture | null): string {
  return picture?.kind === "url" ? picture.url : "https://example.com/chair.png";
}

function shell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function literal(value: unknown): string {
  if (typeof value === "boolean") return value ? "$true" : "$false";
  if (Array.isArray(value)) return `@(${value.map(literal).join(", ")})`;
  if (value !== null && typeof value === "object") {
    return `@{ ${Object.entries(value).map(([name, one]) => `${name} = ${literal(one)}`).join("; ")} }`;
  }
  return typeof value === "number" ? String(value) : `'${String(value).replaceAll("'", "''")}'`;
}
