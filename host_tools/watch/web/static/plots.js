// Curves: a sparkline for a card, a plot with its scale for a camera's page.

import { el, say, set, span, svg } from "/static/dom.js";

const WIDTH = 300;
const HEIGHT = 100;
// Room for the line's own width at both ends.
const EDGE = 4;

function range(values, isFromZero) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return null;
  const least = known.reduce((a, b) => Math.min(a, b));
  const most = known.reduce((a, b) => Math.max(a, b));
  // A flat line lies in the middle.
  const slack = most > least ? 0 : Math.max(Math.abs(most) * 0.05, 1);
  const bottom = isFromZero && least >= 0 ? 0 : least - slack;
  return { least: bottom, most: most + slack, lowest: least, highest: most };
}

// The path of the points; what is not a number is a gap.
function path(xs, ys, scale, width, height) {
  let text = "";
  let isDown = false;
  for (let at = 0; at < ys.length; at += 1) {
    if (!Number.isFinite(ys[at])) {
      isDown = false;
      continue;
    }
    const y = height - EDGE - ((ys[at] - scale.least) / (scale.most - scale.least)) * (height - 2 * EDGE);
    text += `${isDown ? "L" : "M"}${(xs[at] * width).toFixed(1)} ${y.toFixed(1)}`;
    // A point between two gaps would not be seen.
    if (!isDown && !Number.isFinite(ys[at + 1])) text += "h1";
    isDown = true;
  }
  return text;
}

export class Spark {
  constructor(label) {
    this.label = label;
    this.curve = svg("path");
    this.node = svg("svg", { class: "spark", viewBox: "0 0 74 22", preserveAspectRatio: "none", role: "img" }, this.curve);
  }

  draw(values, format) {
    const scale = range(values);
    const xs = values.map((_, at) => at / Math.max(values.length - 1, 1));
    set(this.curve, "d", scale ? path(xs, values, scale, 74, 22) : "");
    set(this.node, "aria-label", scale ? `${this.label}: ${format(scale.lowest)} to ${format(scale.highest)}` : `${this.label}: unknown`);
  }
}

// A panel with a curve over time. format: a number as text; isFromZero: the scale begins there.
export class Plot {
  constructor(title, format, isFromZero) {
    this.title = title;
    this.isFromZero = isFromZero;
    this.format = format;
    this.now = el("b");
    this.low = el("span");
    this.since = el("span");
    this.curve = svg("path", { class: "curve" });
    this.area = svg("path", { class: "under" });
    this.drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      svg("path", { class: "axis", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }), this.area, this.curve);
    this.node = el("section", { class: "panel plot" },
      el("h2", {}, el("span", {}, title), this.now), this.drawing,
      el("p", { class: "scale" }, this.since, this.low));
  }

  // ats: Unix time in ms, ascending; values: as many, null where there is none.
  draw(ats, values) {
    const scale = range(values, this.isFromZero);
    if (!scale) {
      say(this.now, "–");
      say(this.low, "nothing known");
      set(this.drawing, "aria-label", `${this.title}: nothing known`);
      return;
    }
    const first = ats[0];
    const long = Math.max(ats.at(-1) - first, 1);
    const xs = ats.map((at) => (at - first) / long);
    const drawn = path(xs, values, scale, WIDTH, HEIGHT);
    set(this.curve, "d", drawn);
    // Only a curve without gaps has one area below it.
    const whole = values.every(Number.isFinite) && values.length > 1;
    set(this.area, "d", whole ? `${drawn}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z` : "");
    const last = values.findLast(Number.isFinite);
    const text = `${this.format(scale.lowest)} to ${this.format(scale.highest)}`;
    say(this.now, this.format(last));
    say(this.low, text);
    say(this.since, `last ${span(long)}`);
    set(this.drawing, "aria-label", `${this.title}: now ${this.format(last)}; ${text} in the last ${span(long)}`);
  }
}
