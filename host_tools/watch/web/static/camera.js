// A camera's own page: its pictures, its timeline, its curves, and what it can be asked for.

import { expiry, stateWord } from "/static/cards.js";
import { bytes, day, el, glyph, grouped, latency, moment, say, set, span } from "/static/dom.js";
import { Plot } from "/static/plots.js";
import { ask, askForToken, isUnlocked, know } from "/static/session.js";
import { Strip, VERDICTS, VERIFIED, legend, mark, name } from "/static/verdicts.js";

const HISTORY = 600;
const CURVE = 600;
const TIMELINE = 200;
const SPARE_MS = 5000;

export class Page {
  constructor(camera) {
    this.camera = camera;
    this.isLive = true; // shows the newest until somebody steps back
    this.film = new Strip(HISTORY, (cell) => this.frame(cell));
    this.film.node.className = "film";
    set(this.film.node, "role", "listbox");
    set(this.film.node, "tabindex", "0");
    set(this.film.node, "aria-activedescendant", "picked");
    this.film.node.addEventListener("keydown", (event) => this.key(event));
    this.times = { at: [], latency: [] };
    this.build();
  }

  async load() {
    const [status, said] = await ask(`/api/cameras/${this.camera.name}`);
    if (status !== 200) return;
    said.history.forEach((cell) => this.film.add(cell));
    said.timeline.forEach((entry) => this.note(entry));
    this.series = said.series;
    this.times = said.latencies;
    this.birth = said.birth;
    this.sampled = Date.now();
    this.pick(this.pictures().at(-1));
    this.draw(Date.now());
  }

  build() {
    this.chip = el("span", { class: "chip" });
    this.picture = el("img", { alt: "", decoding: "async", hidden: true });
    this.none = el("span", { class: "none" }, "no picture is kept of it");
    this.picture.addEventListener("error", () => {
      this.picture.hidden = true;
      this.none.hidden = false;
    });
    this.what = el("p", { class: "what" });
    this.earlier = el("button", { type: "button", class: "icon", "aria-label": "The snapshot before", title: "← the snapshot before", onclick: () => this.step(-1) }, glyph("left"));
    this.later = el("button", { type: "button", class: "icon", "aria-label": "The snapshot after", title: "→ the snapshot after", onclick: () => this.step(1) }, glyph("right"));
    this.live = el("button", { type: "button", onclick: () => this.follow() }, "Live");
    this.facts = el("dl", { class: "facts" });
    this.badges = el("p", { class: "badges" });
    this.timeline = el("ol", { class: "timeline" });
    this.said = el("p", { class: "said", role: "status" });
    this.plots = {
      latency: new Plot("Latency", latency, true),
      heap_free: new Plot("Free heap", bytes),
      rssi: new Plot("Signal", (value) => `${Math.round(value)} dBm`),
      reconnects: new Plot("Reconnects", (value) => grouped(Math.round(value)), true),
      spooled: new Plot("In its spool", (value) => grouped(Math.round(value)), true),
    };
    const viewer = el("section", { class: "panel viewer", "aria-label": "Snapshots" },
      el("div", { class: "shot" }, this.picture, this.none),
      el("div", { class: "under" },
        el("div", { class: "steps" }, this.earlier, this.later, this.live, this.what), this.film.node));
    this.node = el("div", {},
      el("div", { class: "crumb" }, el("a", { href: "#/" }, "All cameras"), el("span", { class: "soft", "aria-hidden": "true" }, "/"),
        el("h1", {}, this.camera.name), this.chip, this.badges),
      el("div", { class: "detail" }, viewer,
        el("div", { class: "column" },
          el("section", { class: "panel" }, el("h2", {}, "Commands"), this.commands(), this.said),
          el("section", { class: "panel" }, el("h2", {}, "Now"), this.facts),
          el("section", { class: "panel" }, el("h2", {}, "Timeline"), this.timeline))),
      el("div", { class: "plots" }, ...Object.values(this.plots).map((plot) => plot.node)),
      legend());
  }

  commands() {
    const id = this.camera.name;
    const simple = (verb, words) => el("button", { type: "button", onclick: () => this.send(verb) }, words);
    const careful = (verb, words, warning) => el("button", { type: "button", onclick: () => confirm(warning) && this.send(verb) }, words);
    const valued = (verb, before, after, limits) => {
      const field = el("input", { type: "number", required: true, inputmode: "decimal", ...limits });
      const submit = (event) => {
        event.preventDefault();
        this.send(verb, Number(field.value));
      };
      return el("form", { onsubmit: submit }, el("label", {}, before, field, after), el("button", { type: "submit", "aria-label": `Set the ${verb}` }, "Set"));
    };
    return el("div", { class: "commands" },
      el("div", {}, simple("snapshot", "Snapshot now"), simple("health", "Ask for health")),
      valued("interval", "every", "s", { min: "0.05", max: "86400", step: "any" }),
      valued("quality", "quality", "", { min: "1", max: "100", step: "1" }),
      el("div", {}, careful("reboot", "Reboot", `Restart ${id}?`),
        careful("maintenance", "Maintenance", `Restart ${id} to its prompt? It sends nothing until its file state/maintenance is removed.`)));
  }

  async send(verb, value) {
    if (!isUnlocked && !await askForToken()) return;
    set(this.said, "data-is", null);
    say(this.said, `${verb}: waiting for the camera`);
    const [status, answer] = await ask(`/api/cameras/${this.camera.name}/commands`, { do: verb, value });
    if (status === 401) know(false);
    set(this.said, "data-is", status === 200 ? null : "bad");
    say(this.said, answer.said ?? answer.error ?? `The server says ${status}.`);
  }

  // A cell of the film: it can be picked.
  frame(cell) {
    return el("i", { role: "option", "aria-label": name(cell), "aria-selected": "false", onclick: () => this.choose(cell) });
  }

  pictures() {
    return this.film.cells.filter((cell) => cell.image);
  }

  choose(cell) {
    this.isLive = false;
    this.pick(this.film.cells.find((each) => each.boot === cell.boot && each.seq === cell.seq && each.is === cell.is));
  }

  follow() {
    this.isLive = true;
    this.pick(this.pictures().at(-1));
  }

  async step(by) {
    const cells = this.film.cells;
    const at = cells.indexOf(this.picked);
    const next = cells[at + by];
    if (next) {
      this.isLive = false;
      this.pick(next);
    } else if (by < 0) await this.older();
  }

  // What is before the first cell, if anything is.
  async older() {
    const first = this.film.cells.find((cell) => cell.seq !== null);
    if (!first || this.isLoading) return;
    this.isLoading = true;
    const [status, said] = await ask(`/api/cameras/${this.camera.name}/history?boot=${first.boot}&seq=${first.seq}`);
    this.isLoading = false;
    if (status !== 200 || !said.history.length) return;
    const [kept, picked] = [this.film.cells.splice(0), this.picked];
    this.film.node.replaceChildren();
    this.film.most += said.history.length;
    [...said.history, ...kept].forEach((cell) => this.film.add(cell));
    this.pick(this.film.cells.find((cell) => cell.boot === picked.boot && cell.seq === picked.seq));
    this.isLive = false;
    await this.step(-1);
  }

  key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) this.step(by);
    else if (event.key === "End") this.follow();
    else if (event.key === "Home") this.choose(this.film.cells[0]);
    else return;
    event.preventDefault();
  }

  pick(cell) {
    if (this.picked) {
      set(this.picked.node, "aria-selected", "false");
      set(this.picked.node, "id", null);
    }
    this.picked = cell;
    set(this.live, "aria-pressed", this.isLive ? "true" : "false");
    if (!cell) return;
    set(cell.node, "aria-selected", "true");
    set(cell.node, "id", "picked");
    const film = this.film.node;
    if (cell.node.offsetTop - film.offsetTop + 30 > film.scrollTop + film.clientHeight || cell.node.offsetTop - film.offsetTop < film.scrollTop) {
      film.scrollTop = cell.node.offsetTop - film.offsetTop - film.clientHeight / 2;
    }
    this.picture.hidden = !cell.image;
    this.none.hidden = Boolean(cell.image);
    say(this.none, VERIFIED.includes(cell.is) ? "its picture is no longer kept" : VERDICTS[cell.is] ?? cell.is);
    if (cell.image) set(this.picture, "src", cell.image);
    set(this.picture, "alt", `Snapshot ${cell.seq} of ${this.camera.name}`);
    const parts = [`${name(cell)}${cell.boot === null ? "" : `, boot ${cell.boot}`}`, `${day(cell.at)} ${moment(cell.at)}`];
    if (Number.isFinite(cell.size)) parts.push(bytes(cell.size));
    if (Number.isFinite(cell.latency)) parts.push(latency(cell.latency));
    if (cell.reason) parts.push(cell.reason);
    say(this.what, parts.join(" · "));
    set(film, "aria-label", `${film.childElementCount} snapshots; arrow keys step through them`);
  }

  take(cell) {
    this.film.add(cell);
    if (VERIFIED.includes(cell.is)) {
      this.times.at.push(cell.at);
      this.times.latency.push(Math.abs(cell.latency ?? NaN) < 1e6 ? cell.latency : null);
      if (this.times.at.length > CURVE) {
        this.times.at.shift();
        this.times.latency.shift();
      }
    }
    if (cell.is !== "delivered") this.note({ at: cell.at, is: cell.is, text: `${name(cell)}${cell.reason ? `: ${cell.reason}` : ""}` });
    if (this.isLive && cell.image) this.pick(this.pictures().at(-1));
  }

  note(entry) {
    const time = el("time", { datetime: new Date(entry.at).toISOString(), title: day(entry.at) }, moment(entry.at));
    this.timeline.prepend(el("li", {}, time, el("span", {}, entry.is in VERDICTS ? mark(entry.is) : null, entry.text)));
    while (this.timeline.childElementCount > TIMELINE) this.timeline.lastElementChild.remove();
  }

  draw(now) {
    const camera = this.camera;
    set(this.chip, "data-is", stateWord(camera));
    say(this.chip, camera.shared ? "two cameras use this id" : stateWord(camera));
    this.badges.replaceChildren(...expiry(camera.health));
    this.drawFacts(now);
    this.plots.latency.draw(this.times.at, this.times.latency);
    if (!this.series) return;
    for (const field of ["heap_free", "rssi", "reconnects", "spooled"]) this.plots[field].draw(this.series.at, this.series[field]);
    if (now - this.sampled > SPARE_MS) this.sample(now);
  }

  async sample(now) {
    this.sampled = now;
    const [status, said] = await ask(`/api/cameras/${this.camera.name}/series`);
    if (status === 200) this.series = said;
  }

  drawFacts(now) {
    const { health, counts, last } = this.camera;
    const facts = [["Last snapshot", last ? `#${last.seq}, boot ${last.boot}, ${span(now - last.at)} ago` : "none yet"]];
    for (const verdict of Object.keys(VERDICTS)) if (counts[verdict]) facts.push([VERDICTS[verdict], grouped(counts[verdict])]);
    const known = [
      ["Clock", health.clock && `${health.clock}${Number.isFinite(health.clock_age_s) ? `, set ${span(health.clock_age_s * 1000)} ago` : ""}`],
      ["Broker", health.broker], ["Anchor", health.anchor],
      ["Up", Number.isFinite(health.up_s) ? span(health.up_s * 1000) : null],
      ["Last error", health.last_error], ["Board", this.birth?.board], ["Firmware", this.birth?.firmware],
      ["MicroPython", this.birth?.micropython], ["Restarted for", this.birth?.restarted_for],
    ];
    facts.push(...known.filter(([, value]) => value));
    const text = JSON.stringify(facts);
    if (text === this.factsText) return;
    this.factsText = text;
    this.facts.replaceChildren(...facts.flatMap(([what, value]) => [el("dt", {}, what), el("dd", {}, String(value))]));
  }
}
