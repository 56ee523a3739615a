// Elements from data. Whatever came from a camera becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

// el("p", {class: "soft", hidden: true}, "text", child): attributes; on... are listeners.
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else set(node, name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Each only when it changes: 50 cards are touched every second.
export function set(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const GLYPHS = {
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6 6l12 12M18 6L6 18",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22M4.9 4.9l1.8 1.8M17.3 17.3l1.8 1.8M4.9 19.1l1.8-1.8M17.3 6.7l1.8-1.8",
  moon: "M20 14.5A8.5 8.5 0 019.5 4 8.5 8.5 0 1020 14.5z",
  locked: "M6 11h12v9H6zM8.5 11V7.5a3.5 3.5 0 017 0V11",
  open: "M6 11h12v9H6zM8.5 11V7.5a3.5 3.5 0 016.7-1.4",
};

export function glyph(name) {
  return svg("svg", { class: "glyph", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: GLYPHS[name] }));
}

export function span(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

export function bytes(count) {
  if (!Number.isFinite(count)) return "–";
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${Math.round(count / 1000)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

// A camera whose clock is decades off says nothing of the network.
export function latency(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (Math.abs(ms) >= 1e6) return "clock?";
  return Math.abs(ms) < 10000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1000)} s`;
}

export function moment(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

export function day(ms) {
  return new Date(ms).toLocaleDateString("en-GB", { year: "numeric", month: "short", day: "numeric" });
}

export const grouped = new Intl.NumberFormat("en").format;
