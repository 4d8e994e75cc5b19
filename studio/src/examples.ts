// Example pictures under the drop field: one click takes a picture and starts its job.

import { byId, el } from "./dom";

const NAMES = ["vase", "rocket", "mug"];

/** Shows the examples; a chosen one goes to `take`, then the form is sent. */
export function showExamples(take: (file: Blob, name: string) => void): void {
  const form = byId<HTMLFormElement>("composer");
  const start = async (name: string): Promise<void> => {
    const answer = await fetch(urlOf(name));
    if (!answer.ok) return;
    take(new Blob([await answer.arrayBuffer()], { type: "image/webp" }), `${name}.webp`);
    form.requestSubmit();
  };
  byId("examples").append(
    ...NAMES.map((name) =>
      el(
        "button",
        { type: "button", class: "example", title: `Make a mesh of the example picture: ${name}`, onclick: () => void start(name) },
        el("img", { src: urlOf(name), alt: "", width: 44, height: 44 }),
        el("span", { class: "visually-hidden" }, `Example: ${name}`),
      ),
    ),
  );
}

function urlOf(name: string): string {
  return `/studio/${name}.webp`;
}
