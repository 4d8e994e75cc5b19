// A mesh in space: shown, turned and measured. Knows no jobs; draws only when something changes.

import {
  BufferAttribute, BufferGeometry, Color, DirectionalLight, HemisphereLight, Mesh, MeshBasicMaterial,
  MeshStandardMaterial, PerspectiveCamera, Scene, Sphere, Spherical, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { STLLoader } from "three/examples/jsm/loaders/STLLoader.js";
import { el } from "./dom";
import { DimensionBox } from "./dimension_box";
import type { Units } from "./job";
import { Plate } from "./plate";
import { weld } from "./weld";

export interface Look {
  wireframe: boolean;
  smooth: boolean;
  plate: boolean;
  box: boolean;
  turntable: boolean;
}

export const FIRST_LOOK: Look = { wireframe: false, smooth: true, plate: true, box: false, turntable: false };

/** Where the camera is, in radii of the mesh: so that two of different size can be turned together. */
export interface Pose {
  azimuth: number;
  polar: number;
  distance: number;
  target: [number, number, number];
}

const FRONT = { azimuth: 0.52, polar: 1.2 };
const FIELD_OF_VIEW_DEG = 32;
/** The more faces, the fainter their edges: a dense wireframe would else be a black mesh. */
const WIRE_OPACITY = { least: 0.08, most: 0.5, ofRootOfFaces: 25 };
const KEY_TURN = Math.PI / 24;
const KEY_ZOOM = 1.12;

export class Viewer {
  readonly canvas: HTMLCanvasElement;
  /** Called when somebody turns, moves or zooms, not when the pose is set from outside. */
  onTurn: (pose: Pose) => void = () => {};

  private readonly renderer: WebGLRenderer;
  private readonly scene = new Scene();
  private readonly camera = new PerspectiveCamera(FIELD_OF_VIEW_DEG, 1, 0.01, 100);
  private readonly controls: OrbitControls;
  private readonly geometry = new BufferGeometry();
  private readonly surface = new MeshStandardMaterial({ roughness: 0.78, metalness: 0, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 });
  private readonly lines = new MeshBasicMaterial({ wireframe: true, transparent: true });
  private readonly solid = new Mesh(this.geometry, this.surface);
  private readonly wires = new Mesh(this.geometry, this.lines);
  private readonly plate = new Plate();
  private readonly box: DimensionBox;
  private bounds = new Sphere(new Vector3(), 1);
  private look: Look = FIRST_LOOK;
  private frame = 0;
  private isFollowing = false;
  private readonly sizes: ResizeObserver;

  /** Raises where the browser has no WebGL. */
  constructor(private readonly host: HTMLElement, label: string) {
    this.canvas = el("canvas", { tabindex: 0, role: "img", "aria-label": label });
    this.renderer = new WebGLRenderer({ canvas: this.canvas, antialias: true, alpha: true });
    this.renderer.setPixelRatio(Math.min(2, window.devicePixelRatio));
    this.box = new DimensionBox(host);
    host.prepend(this.canvas);
    this.scene.add(this.camera, this.solid, this.wires, this.plate.object, this.box.object);
    this.light();
    this.controls = this.makeControls();
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(host);
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.paint();
  }

  /** Shows a mesh from the bytes of its STL file, seen from the front. Gives back its number of vertices. */
  show(stl: ArrayBuffer, units: Units): number {
    const corners = new STLLoader().parse(stl).getAttribute("position").array as Float32Array;
    const { positions, index } = weld(corners);
    if (units === "mm") turnUpright(positions);
    this.geometry.setAttribute("position", new BufferAttribute(positions, 3));
    this.geometry.setIndex(new BufferAttribute(index, 1));
    this.lines.opacity = wireOpacity(index.length / 3);
    this.geometry.computeVertexNormals();
    this.geometry.computeBoundingBox();
    const size = this.geometry.boundingBox!;
    size.getBoundingSphere(this.bounds);
    this.plate.fit(size, units);
    this.box.fit(size, units);
    this.camera.near = this.bounds.radius / 100;
    this.camera.far = this.bounds.radius * 60;
    this.controls.minDistance = this.bounds.radius * 0.3;
    this.controls.maxDistance = this.bounds.radius * 20;
    this.apply(this.look);
    this.home();
    return positions.length / 3;
  }

  apply(look: Look): void {
    this.look = look;
    this.surface.flatShading = !look.smooth;
    this.surface.needsUpdate = true;
    this.wires.visible = look.wireframe;
    this.plate.object.visible = look.plate;
    this.box.setVisible(look.box);
    this.controls.autoRotate = look.turntable;
    this.invalidate();
  }

  /** Takes the colours of the page, which change with its theme. */
  paint(): void {
    const style = getComputedStyle(this.host);
    const colour = (name: string): Color => new Color(style.getPropertyValue(name).trim());
    this.surface.color = colour("--mesh");
    this.lines.color = colour("--mesh-lines");
    this.plate.paint(colour("--grid"), colour("--grid-strong"), colour("--mesh-shadow"));
    this.box.paint(colour("--accent"));
    this.invalidate();
  }

  /** Back to the first view: the whole mesh, from the front and a little above. */
  home(): void {
    const narrow = Math.min(1, this.camera.aspect);
    const distance = 1.12 / Math.sin((FIELD_OF_VIEW_DEG * Math.PI) / 360) / narrow;
    this.setPose({ ...FRONT, distance, target: [0, 0, 0] });
    this.onTurn(this.pose());
  }

  pose(): Pose {
    const { center, radius } = this.bounds;
    const orbit = new Spherical().setFromVector3(this.camera.position.clone().sub(this.controls.target));
    const target = this.controls.target.clone().sub(center).divideScalar(radius);
    return { azimuth: orbit.theta, polar: orbit.phi, distance: orbit.radius / radius, target: target.toArray() };
  }

  setPose(pose: Pose): void {
    const { center, radius } = this.bounds;
    this.isFollowing = true;
    this.controls.target.fromArray(pose.target).multiplyScalar(radius).add(center);
    this.camera.position
      .setFromSphericalCoords(pose.distance * radius, pose.polar, pose.azimuth)
      .add(this.controls.target);
    this.camera.updateProjectionMatrix();
    this.controls.update();
    this.isFollowing = false;
    this.invalidate();
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    this.controls.dispose();
    this.geometry.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.canvas.remove();
    this.box.dispose();
  }

  private light(): void {
    const sky = new HemisphereLight(0xffffff, 0xb5a99b, 1.5);
    const key = new DirectionalLight(0xfff4e6, 1.9);
    const rim = new DirectionalLight(0xe4ecff, 0.7);
    key.position.set(-0.9, 1.2, 1.4);
    rim.position.set(1.6, 0.4, 0.2);
    // They hang on the camera: whatever side is looked at is lit.
    this.camera.add(key, key.target, rim, rim.target);
    this.scene.add(sky);
  }

  private makeControls(): OrbitControls {
    const controls = new OrbitControls(this.camera, this.canvas);
    controls.enableDamping = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    controls.dampingFactor = 0.12;
    controls.autoRotateSpeed = 1.6;
    controls.addEventListener("change", () => {
      this.invalidate();
      if (!this.isFollowing) this.onTurn(this.pose());
    });
    return controls;
  }

  private key(event: KeyboardEvent): void {
    const pose = this.pose();
    const turns: Record<string, () => void> = {
      ArrowLeft: () => (pose.azimuth -= KEY_TURN),
      ArrowRight: () => (pose.azimuth += KEY_TURN),
      ArrowUp: () => (pose.polar = Math.max(0.05, pose.polar - KEY_TURN)),
      ArrowDown: () => (pose.polar = Math.min(Math.PI - 0.05, pose.polar + KEY_TURN)),
      "+": () => (pose.distance /= KEY_ZOOM),
      "=": () => (pose.distance /= KEY_ZOOM),
      "-": () => (pose.distance *= KEY_ZOOM),
      Home: () => this.home(),
    };
    const turn = turns[event.key];
    if (!turn || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    turn();
    if (event.key === "Home") return;
    this.setPose(pose);
    this.onTurn(this.pose());
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (width === 0 || height === 0) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.invalidate();
  }

  private invalidate(): void {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.frame = 0;
    const isMoving = this.controls.update();
    this.renderer.render(this.scene, this.camera);
    this.box.place(this.camera, this.host);
    if (isMoving || this.look.turntable) this.invalidate();
  }
}

function wireOpacity(numFaces: number): number {
  const { least, most, ofRootOfFaces } = WIRE_OPACITY;
  return Math.min(most, Math.max(least, ofRootOfFaces / Math.sqrt(numFaces)));
}

/** Print files have z up, the scene y. */
function turnUpright(positions: Float32Array): void {
  for (let at = 0; at < positions.length; at += 3) {
    const y = positions[at + 1]!;
    positions[at + 1] = positions[at + 2]!;
    positions[at + 2] = -y;
  }
}
