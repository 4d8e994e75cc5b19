// The bounding box with its three lengths written on it.

import { Box3, Box3Helper, type Color, type LineBasicMaterial, type PerspectiveCamera, Vector3 } from "three";
import { el } from "./dom";
import { number, type Units } from "./job";

export class DimensionBox {
  readonly object: Box3Helper;
  private readonly labels = ["x", "y", "z"].map(() => el("span", { class: "dimension", hidden: true }));
  private readonly anchors = this.labels.map(() => new Vector3());
  private isVisible = false;

  constructor(host: HTMLElement) {
    this.object = new Box3Helper(new Box3());
    this.object.visible = false;
    host.append(...this.labels);
  }

  /** Measures a mesh with these bounds (y up); in millimetres the height is called z, as printers do. */
  fit(bounds: Box3, units: Units): void {
    this.object.box = bounds;
    const { min, max } = bounds;
    const size = bounds.getSize(new Vector3());
    const middle = bounds.getCenter(new Vector3());
    this.anchors[0]!.set(middle.x, min.y, max.z);
    this.anchors[1]!.set(max.x, middle.y, max.z);
    this.anchors[2]!.set(max.x, min.y, middle.z);
    const names = units === "mm" ? ["x", "z", "y"] : ["x", "y", "z"];
    const unit = units === "mm" ? "\u202fmm" : "";
    [size.x, size.y, size.z].forEach((length, at) => {
      this.labels[at]!.textContent = `${names[at]} ${number(length, units === "mm" ? 1 : 3)}${unit}`;
    });
  }

  setVisible(isVisible: boolean): void {
    this.isVisible = isVisible;
    this.object.visible = isVisible;
    for (const label of this.labels) label.hidden = !isVisible;
  }

  paint(colour: Color): void {
    (this.object.material as LineBasicMaterial).color = colour;
  }

  /** Puts the words where their edges are seen. */
  place(camera: PerspectiveCamera, host: HTMLElement): void {
    if (!this.isVisible) return;
    this.anchors.forEach((anchor, at) => {
      const seen = anchor.clone().project(camera);
      const x = ((seen.x + 1) / 2) * host.clientWidth;
      const y = ((1 - seen.y) / 2) * host.clientHeight;
      this.labels[at]!.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px) translate(-50%, -50%)`;
    });
  }

  dispose(): void {
    for (const label of this.labels) label.remove();
  }
}
