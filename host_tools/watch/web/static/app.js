// The page: loads what is known, follows what happens, shows the grid or one camera.

import { Camera, Grid } from "/static/cards.js";
import { Page } from "/static/camera.js";
import { glyph, say, set } from "/static/dom.js";
import { ask, askForToken, know, onChange, unlockByAddress } from "/static/session.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
const filter = document.getElementById("filter");
const trouble = document.getElementById("trouble");
const theme = document.getElementById("theme");

const cameras = new Map();
const grid = new Grid(cameras);
const dirty = new Set();
let page = null;
let stream = null;
let broker = {};

// The server's clock: ages must not depend on this machine's.
let ahead = 0;
const now = () => Date.now() + ahead;

async function load() {
  let status, said;
  try {
    [status, said] = await ask("/api/overview");
  } catch {
    link_is("lost", "the watcher does not answer");
    return setTimeout(load, 2000);
  }
  if (status === 401) {
    link_is("lost", "locked");
    return askForToken();
  }
  if (status !== 200) {
    link_is("lost", said.error ?? `the watcher says ${status}`);
    return setTimeout(load, 2000);
  }
  ahead = said.at - Date.now();
  for (const summary of said.cameras) {
    if (cameras.has(summary.name)) cameras.get(summary.name).restart(summary);
    else cameras.set(summary.name, new Camera(summary));
    dirty.add(summary.name);
  }
  know(said.unlocked);
  grid.arrange();
  follow(said.cursor);
  broker = said.broker;
  show_link();
  page = null; // it may have missed something, too
  route();
}

// Server-sent events: the browser reconnects by itself, and says which was the last it got.
function follow(cursor) {
  stream?.close();
  stream = new EventSource(`/api/events?after=${cursor}`);
  stream.onopen = show_link;
  stream.onerror = () => {
    link_is("lost", "connection to the watcher lost; trying again");
    // The browser gives up on an answer that is an error: the server is full, or restarting.
    if (stream.readyState === EventSource.CLOSED) setTimeout(load, 2000);
  };
  stream.onmessage = (event) => take(JSON.parse(event.data));
  stream.addEventListener("reload", () => load());
}

function take(event) {
  if (event.kind === "broker") {
    broker = event;
    show_link();
    return;
  }
  let camera = cameras.get(event.camera);
  if (!camera) {
    const nothing = { name: event.camera, state: null, counts: {}, health: {}, shared: false, last: null, strip: [] };
    camera = new Camera(nothing);
    cameras.set(event.camera, camera);
    grid.arrange();
  }
  if (event.kind === "camera") camera.update(event);
  else {
    camera.take(event.cell);
    if (page?.camera === camera) page.take(event.cell);
  }
  dirty.add(event.camera);
  schedule();
}

// However much comes, it is drawn once in a frame.
let isScheduled = false;
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    draw();
  });
}

function draw() {
  const at = now();
  if (page) {
    if (dirty.has(page.camera.name)) page.draw(at);
    return;
  }
  for (const name of dirty) cameras.get(name).draw(at);
  if (dirty.size) {
    grid.drawAnswer();
    grid.show(filter.value.trim(), trouble.getAttribute("aria-pressed") === "true");
  }
  dirty.clear();
}

function tick() {
  if (page) page.draw(now());
  else for (const camera of cameras.values()) camera.tick(now());
}

function link_is(is, text) {
  set(link, "data-is", is);
  if (!link.firstElementChild) link.append(document.createElement("span"));
  say(link.firstElementChild, text);
}

function show_link() {
  if (broker.trouble) link_is("lost", broker.trouble);
  else if (broker.connected) link_is("live", `${broker.address}, TLS verified`);
  else link_is("wait", `connecting to ${broker.address}`);
}

function route() {
  const name = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  const camera = cameras.get(name);
  if (camera && page?.camera === camera) return;
  page = camera ? new Page(camera) : null;
  document.title = camera ? `${name} · anchorcam` : "anchorcam";
  main.replaceChildren(camera ? page.node : grid.node);
  for (const tool of [filter, trouble]) tool.hidden = Boolean(camera);
  for (const each of cameras.keys()) dirty.add(each);
  if (page) page.load();
  scrollTo(0, 0);
  draw();
  refilter();
}

function refilter() {
  grid.show(filter.value.trim(), trouble.getAttribute("aria-pressed") === "true");
}

// Light or dark: as the system, until somebody chooses.
function dress(choice) {
  if (choice) document.documentElement.dataset.theme = choice;
  const isDark = choice ? choice === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme.replaceChildren(glyph(isDark ? "sun" : "moon"));
  const words = isDark ? "Light colours" : "Dark colours";
  set(theme, "aria-label", words);
  set(theme, "title", words);
  return isDark;
}

theme.addEventListener("click", () => {
  const next = dress(localStorage.getItem("theme")) ? "light" : "dark";
  localStorage.setItem("theme", next);
  dress(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dress(localStorage.getItem("theme")));
filter.addEventListener("input", refilter);
trouble.addEventListener("click", () => {
  set(trouble, "aria-pressed", trouble.getAttribute("aria-pressed") === "true" ? "false" : "true");
  refilter();
});
addEventListener("hashchange", route);
addEventListener("keydown", (event) => {
  if (event.target.closest("input, dialog")) {
    if (event.key === "Escape" && event.target === filter) filter.value = "", refilter();
    return;
  }
  if (event.key === "/" && !page) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape" && page) location.hash = "#/";
  else if (page && !event.defaultPrevented && !event.altKey && !event.ctrlKey && !event.metaKey) page.key(event);
});
addEventListener("unlocked", () => {
  if (!stream) load();
});

dress(localStorage.getItem("theme"));
onChange(() => page?.draw(now()));
know(false);
setInterval(tick, 1000);
await unlockByAddress();
await load();
