// Verdicts: their words, their cells, and the strip of a camera's last snapshots.

import { el, set } from "/static/dom.js";

export const VERDICTS = {
  delivered: "delivered",
  reordered: "reordered",
  duplicate: "duplicate",
  missing: "missing",
  "dropped-by-camera": "dropped by camera",
  corrupt: "corrupt",
  unverifiable: "unverifiable",
};
// Those of a snapshot that is here and proven.
export const VERIFIED = ["delivered", "reordered"];
// Snapshots that are here in no form, or in a wrong one.
export const LOST = ["missing", "corrupt", "unverifiable"];
// A gap of more than so many is one cell that says how many.
const SPREAD = 12;

export function count(cell) {
  return (cell.to ?? cell.seq) - cell.seq + 1;
}

export function name(cell) {
  const which = cell.seq === null ? "" : count(cell) > 1 ? `#${cell.seq} to #${cell.to}` : `#${cell.seq}`;
  return [which, VERDICTS[cell.is] ?? cell.is].filter(Boolean).join(" ");
}

export function mark(verdict) {
  return el("i", { class: "cell", "data-is": verdict, "aria-hidden": "true" });
}

// A gap as its single snapshots, if it is not too long.
export function spread(cell) {
  const size = count(cell);
  if (size === 1 || size > SPREAD) return [cell];
  return Array.from({ length: size }, (_, at) => ({ ...cell, seq: cell.seq + at, to: undefined }));
}

// The cells of a strip, oldest first; at most `most` of them are kept.
export class Strip {
  constructor(most, make = (cell) => el("i", {})) {
    this.most = most;
    this.make = make;
    this.cells = []; // {boot, seq, to?, is, at, latency, size, image, reason, node}
    this.node = el("div", { class: "strip", role: "img" });
  }

  add(fresh) {
    for (const cell of spread(fresh)) this.one(cell);
  }

  one(cell) {
    // What came late takes the place that its gap has.
    const known = cell.seq === null ? undefined
      : this.cells.findLast((each) => each.boot === cell.boot && each.seq === cell.seq && !each.to);
    if (known) {
      if (cell.is === "duplicate") return;
      Object.assign(known, cell);
      this.draw(known);
      return;
    }
    // A gap is noticed by what came after it.
    const later = cell.seq === null ? -1 : this.cells.findIndex((each) => each.seq !== null
      && (each.boot > cell.boot || (each.boot === cell.boot && each.seq > cell.seq)));
    const at = later < 0 ? this.cells.length : later;
    const before = this.cells[at - 1];
    cell = { ...cell, first: Boolean(before && before.boot !== cell.boot) };
    cell.node = this.make(cell);
    this.draw(cell);
    this.node.insertBefore(cell.node, this.cells[at]?.node ?? null);
    this.cells.splice(at, 0, cell);
    while (this.cells.length > this.most) this.cells.shift().node.remove();
  }

  draw(cell) {
    const many = count(cell) > 1;
    set(cell.node, "class", ["cell", cell.first && "first", many && "many"].filter(Boolean).join(" "));
    set(cell.node, "data-is", cell.is);
    set(cell.node, "title", name(cell));
    if (many) cell.node.textContent = `×${count(cell)}`;
  }

  label() {
    const tally = new Map();
    for (const cell of this.cells) tally.set(cell.is, (tally.get(cell.is) ?? 0) + count(cell));
    const words = [...tally].map(([verdict, many]) => `${many} ${VERDICTS[verdict] ?? verdict}`);
    set(this.node, "aria-label", words.length ? `Last snapshots: ${words.join(", ")}` : "No snapshots yet");
  }
}

export function legend() {
  return el("p", { class: "legend" }, ...Object.entries(VERDICTS).map(([verdict, word]) => el("span", {}, mark(verdict), word)));
}
