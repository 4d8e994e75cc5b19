// What the service says of a cut-out, in words: where its outline comes from, and what is suspicious about it.

import type { components } from "./api_schema";

export type CutOutFacts = components["schemas"]["CutOutFacts"];

const WARNINGS: Record<CutOutFacts["warnings"][number], string> = {
  covers_everything: "Next to nothing of the picture is background: the mesh may become a slab.",
  touches_border: "The object touches the picture's border: what lies outside is missing.",
  small: "The object has few pixels: its details are guessed.",
  soft: "Much of the object is see-through in the cut-out.",
  several_objects: "More than one object is left; they become one mesh.",
};

const SOURCES: Record<string, string> = { alpha: "the picture's own", mask: "your mask", none: "none" };

/** Where the outline comes from: `the picture's own`, `your mask`, or a model's name. */
export function sourceOf(facts: CutOutFacts): string {
  return SOURCES[facts.source] ?? facts.source;
}

/** One sentence for each warning. */
export function warningsOf(facts: CutOutFacts | null): string[] {
  return (facts?.warnings ?? []).map((one) => WARNINGS[one] ?? one);
}
