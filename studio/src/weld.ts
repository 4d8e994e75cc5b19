// An STL has three corners of its own for every face; here corners at the same place become one vertex.

export interface Welded {
  /** x, y, z of each vertex. */
  positions: Float32Array;
  /** Three vertices of each face. */
  index: Uint32Array;
}

/** The same faces over vertices that are shared: exactly equal coordinates, no tolerance. */
export function weld(corners: Float32Array): Welded {
  const count = corners.length / 3;
  const bits = new Uint32Array(corners.buffer, corners.byteOffset, corners.length);
  const slots = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(2, count) * 1.5))).fill(-1);
  const kept = new Uint32Array(count);
  const index = new Uint32Array(count);
  let numKept = 0;
  for (let corner = 0; corner < count; corner++) {
    const slot = slotOf(bits, corner, slots, kept);
    let vertex = slots[slot]!;
    if (vertex < 0) {
      vertex = numKept++;
      slots[slot] = vertex;
      kept[vertex] = corner;
    }
    index[corner] = vertex;
  }
  return { positions: gathered(corners, kept.subarray(0, numKept)), index };
}

/** Where the place of this corner stands in the table, or would. */
function slotOf(bits: Uint32Array, corner: number, slots: Int32Array, kept: Uint32Array): number {
  const at = 3 * corner;
  const x = bits[at]!, y = bits[at + 1]!, z = bits[at + 2]!;
  const hash = Math.imul(x, 0x9e3779b1) ^ Math.imul(y, 0x85ebca6b) ^ Math.imul(z, 0xc2b2ae35);
  let slot = (hash ^ (hash >>> 15)) & (slots.length - 1);
  for (;;) {
    const vertex = slots[slot]!;
    if (vertex < 0) return slot;
    const other = 3 * kept[vertex]!;
    if (bits[other] === x && bits[other + 1] === y && bits[other + 2] === z) return slot;
    slot = (slot + 1) & (slots.length - 1);
  }
}

function gathered(corners: Float32Array, kept: Uint32Array): Float32Array {
  const positions = new Float32Array(3 * kept.length);
  kept.forEach((corner, vertex) => positions.set(corners.subarray(3 * corner, 3 * corner + 3), 3 * vertex));
  return positions;
}
