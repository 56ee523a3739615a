// The grid: one card for each camera, and the answer above it: did everything arrive?

import { bytes, el, glyph, grouped, latency, say, set, span } from "/static/dom.js";
import { Spark } from "/static/plots.js";
import { LOST, Strip, VERDICTS, VERIFIED, legend, mark } from "/static/verdicts.js";

const STRIP = 60;
// A picture is decoded this often at most, however fast they come.
const PICTURE_MS = 1000;
export const EXPIRES_SOON_DAYS = 21;
const EXPIRES_NOW_DAYS = 7;

export function expiry(health) {
  const days = [["leaf", health.leaf_days], ["chain", health.chain_days], ["anchor", health.anchor_days]];
  return days.filter(([, left]) => Number.isFinite(left)).map(([which, left]) => {
    const is = left <= EXPIRES_NOW_DAYS ? "bad" : left <= EXPIRES_SOON_DAYS ? "warn" : "good";
    const text = left < 0 ? `${which} expired` : `${which} ${grouped(left)} d`;
    return el("span", { class: "badge", "data-is": is, title: `${which} certificate: ${left < 0 ? "expired" : `${grouped(left)} days left`}` }, text);
  });
}

export function stateWord(camera) {
  return camera.state ?? "unknown";
}

// Why somebody should look at this camera, or "".
export function attention(camera) {
  if (camera.shared) return "two cameras use this id";
  if (camera.state === "offline") return "offline";
  if (camera.strip.cells.some((cell) => LOST.includes(cell.is))) return "lost snapshots";
  const health = camera.health;
  const days = [health.leaf_days, health.chain_days, health.anchor_days].filter(Number.isFinite);
  return days.some((left) => left <= EXPIRES_SOON_DAYS) ? "a certificate expires" : "";
}

// One camera: what is known of it, and its card.
export class Camera {
  constructor(summary) {
    this.name = summary.name;
    this.strip = new Strip(STRIP);
    this.spark = new Spark("Latency");
    this.pictureAt = 0;
    this.build();
    this.restart(summary);
  }

  // From what the server says of it as a whole.
  restart(summary) {
    this.strip.cells.splice(0).forEach((cell) => cell.node.remove());
    summary.strip.forEach((cell) => this.strip.add(cell));
    this.last = summary.last;
    this.update(summary);
  }

  // state, counts, health, shared.
  update(summary) {
    this.state = summary.state;
    this.counts = summary.counts;
    this.health = summary.health;
    this.shared = summary.shared;
  }

  take(cell) {
    this.strip.add(cell);
    const isNewer = !this.last || cell.boot > this.last.boot || (cell.boot === this.last.boot && cell.seq > this.last.seq);
    if (VERIFIED.includes(cell.is) && isNewer) this.last = cell;
  }

  build() {
    this.picture = el("img", { alt: "", decoding: "async", hidden: true });
    this.none = el("span", { class: "none" }, "no snapshot yet");
    this.chip = el("span", { class: "chip" });
    this.size = el("span", { class: "number" });
    this.badges = el("p", { class: "badges" });
    this.tally = el("ul", { class: "counts" });
    const link = el("a", { href: `#/${this.name}` }, this.name);
    this.card = el("article", { class: "card", "data-camera": this.name },
      el("div", { class: "shot" }, this.picture, this.none, this.chip),
      el("div", { class: "body" },
        el("div", { class: "title" }, el("h2", {}, link), this.size),
        el("div", { class: "lines" }, this.strip.node, this.spark.node),
        this.tally, this.badges));
  }

  // Draw what has changed.
  draw(now) {
    set(this.chip, "data-is", stateWord(this));
    this.drawPicture(now);
    this.strip.label();
    const times = this.strip.cells.filter((cell) => VERIFIED.includes(cell.is)).map((cell) => Math.abs(cell.latency ?? NaN) < 1e6 ? cell.latency : NaN);
    this.spark.draw(times, latency);
    say(this.size, this.last ? `#${this.last.seq} · ${bytes(this.last.size)} · ${latency(this.last.latency)}` : "");
    const shown = Object.keys(VERDICTS).filter((verdict) => this.counts[verdict]);
    this.tally.replaceChildren(...shown.map((verdict) => el("li", {}, mark(verdict), `${grouped(this.counts[verdict])} ${VERDICTS[verdict]}`)));
    this.badges.replaceChildren(...expiry(this.health), ...(this.health.spooled ? [el("span", { class: "badge" }, `${grouped(this.health.spooled)} in its spool`)] : []));
    this.tick(now);
  }

  drawPicture(now) {
    const source = this.last?.image;
    if (!source || source === this.shown || now - this.pictureAt < PICTURE_MS) return;
    this.pictureAt = now;
    this.shown = source;
    set(this.picture, "src", source);
    set(this.picture, "alt", `The newest snapshot of ${this.name}`);
    this.picture.hidden = false;
    this.none.hidden = true;
  }

  tick(now) {
    const word = this.shared ? "id used twice" : stateWord(this);
    say(this.chip, this.last ? `${word} · ${span(now - this.last.at)}` : word);
    this.chip.classList.toggle("old", this.shared || this.state === "offline");
    this.drawPicture(now);
  }
}

export class Grid {
  constructor(cameras) {
    this.cameras = cameras; // Map of name to Camera
    this.title = el("h1");
    this.tally = el("p", { class: "tally" });
    this.answer = el("section", { class: "answer", "aria-live": "polite" }, this.title, this.tally);
    this.cards = el("div", { class: "grid" });
    this.nothing = el("p", { class: "empty" });
    this.node = el("div", {}, this.answer, this.cards, this.nothing, legend());
  }

  // Every camera's card, in the order of names.
  arrange() {
    const names = [...this.cameras.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    names.forEach((name, at) => {
      const card = this.cameras.get(name).card;
      if (this.cards.children[at] !== card) this.cards.insertBefore(card, this.cards.children[at] ?? null);
    });
  }

  show(words, onlyTrouble) {
    let shown = 0;
    for (const camera of this.cameras.values()) {
      const fits = camera.name.toLowerCase().includes(words.toLowerCase()) && (!onlyTrouble || attention(camera) !== "");
      camera.card.hidden = !fits;
      shown += fits;
    }
    this.nothing.hidden = shown > 0;
    if (!this.cameras.size) say(this.nothing, "No camera has sent anything yet. Switch one on, or check its prefix.");
    else say(this.nothing, onlyTrouble && !words ? "No camera needs attention." : `No camera fits “${words}”.`);
  }

  drawAnswer() {
    const total = {};
    let online = 0;
    for (const camera of this.cameras.values()) {
      online += camera.state === "online";
      for (const [verdict, many] of Object.entries(camera.counts)) total[verdict] = (total[verdict] ?? 0) + many;
    }
    const arrived = VERIFIED.reduce((sum, verdict) => sum + (total[verdict] ?? 0), 0);
    const lost = LOST.reduce((sum, verdict) => sum + (total[verdict] ?? 0), 0);
    const dropped = total["dropped-by-camera"] ?? 0;
    const [is, sign, words] = lost ? ["bad", "cross", `${grouped(lost)} of ${grouped(arrived + lost + dropped)} snapshots did not arrive intact`]
      : dropped ? ["warn", "cross", `Cameras dropped ${grouped(dropped)} snapshots; all others arrived`]
      : arrived ? ["good", "check", "Everything arrived"]
      : ["none", "check", "Nothing has arrived yet"];
    set(this.answer, "data-is", is);
    if (this.words !== words) {
      this.words = words;
      this.title.replaceChildren(el("span", { class: "mark" }, glyph(sign)), words);
    }
    const parts = [[`${online}/${this.cameras.size}`, "cameras online"], [grouped(arrived), "verified"]];
    for (const verdict of ["missing", "dropped-by-camera", "corrupt", "unverifiable", "reordered", "duplicate"]) {
      if (total[verdict]) parts.push([grouped(total[verdict]), VERDICTS[verdict]]);
    }
    const text = JSON.stringify(parts);
    if (this.parts !== text) {
      this.parts = text;
      this.tally.replaceChildren(...parts.map(([many, what]) => el("span", {}, el("b", {}, many), ` ${what}`)));
    }
  }
}
