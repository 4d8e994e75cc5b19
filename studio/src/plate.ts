// What the mesh stands on: the bed of a printer with a line every 10 mm, and a soft shadow. Without millimetres
// there is only the shadow.

import {
  type Box3, BufferAttribute, BufferGeometry, CanvasTexture, type Color, Group, LineBasicMaterial, LineSegments,
  Mesh, MeshBasicMaterial, PlaneGeometry, Vector3,
} from "three";
import type { Units } from "./job";

/** The bed of many a small printer. */
const BED_MM = 220;
const LINE_EVERY_MM = 10;
const STRONG_EVERY_MM = 50;

export class Plate {
  readonly object = new Group();
  private readonly thin = new LineSegments(new BufferGeometry(), new LineBasicMaterial({ transparent: true, opacity: 0.8 }));
  private readonly strong = new LineSegments(new BufferGeometry(), new LineBasicMaterial());
  private readonly grid = new Group();
  private readonly shadow = new Mesh(
    new PlaneGeometry(1, 1).rotateX(-Math.PI / 2),
    new MeshBasicMaterial({ alphaMap: softSpot(), transparent: true, opacity: 0.55, depthWrite: false }),
  );

  constructor() {
    this.grid.add(this.thin, this.strong);
    this.object.add(this.shadow, this.grid);
  }

  /** Lies under a mesh with these bounds (y up). */
  fit(bounds: Box3, units: Units): void {
    const size = bounds.getSize(new Vector3());
    const middle = bounds.getCenter(new Vector3());
    this.shadow.scale.set(size.x * 1.5, 1, size.z * 1.5);
    this.shadow.position.set(middle.x, bounds.min.y - size.y * 0.001, middle.z);
    this.grid.visible = units === "mm";
    const side = sideOf(Math.max(...[bounds.min, bounds.max].flatMap((corner) => [corner.x, corner.z]).map(Math.abs)));
    this.grid.position.y = bounds.min.y - size.y * 0.0005;
    draw(this.thin, side, (at) => at % STRONG_EVERY_MM !== 0);
    draw(this.strong, side, (at) => at % STRONG_EVERY_MM === 0 || Math.abs(at) === side / 2);
  }

  paint(thin: Color, strong: Color, shadow: Color): void {
    (this.thin.material as LineBasicMaterial).color = thin;
    (this.strong.material as LineBasicMaterial).color = strong;
    this.shadow.material.color = shadow;
  }
}

/** The bed's side: the usual one, or what holds a mesh that reaches so far from the middle. */
function sideOf(reachMm: number): number {
  return Math.max(BED_MM, 2 * STRONG_EVERY_MM * Math.ceil((reachMm + LINE_EVERY_MM) / STRONG_EVERY_MM));
}

function draw(lines: LineSegments, side: number, isWanted: (at: number) => boolean): void {
  const half = side / 2;
  const points: number[] = [];
  for (let at = -half; at <= half; at += LINE_EVERY_MM) {
    if (isWanted(at)) points.push(at, 0, -half, at, 0, half, -half, 0, at, half, 0, at);
  }
  lines.geometry.dispose();
  lines.geometry = new BufferGeometry().setAttribute("position", new BufferAttribute(new Float32Array(points), 3));
}

/** White in the middle, black at the edge, without a rim that the eye could find. */
function softSpot(): CanvasTexture {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 128;
  const context = canvas.getContext("2d")!;
  const spot = context.createRadialGradient(64, 64, 8, 64, 64, 64);
  for (const [at, light] of [[0, 255], [0.35, 170], [0.65, 60], [0.85, 14], [1, 0]] as const) {
    spot.addColorStop(at, `rgb(${light} ${light} ${light})`);
  }
  context.fillStyle = spot;
  context.fillRect(0, 0, 128, 128);
  return new CanvasTexture(canvas);
}
