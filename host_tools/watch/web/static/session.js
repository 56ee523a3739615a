// What needs the token: the session, and commands to a camera.

import { glyph, set } from "/static/dom.js";

const dialog = document.getElementById("unlock");
const field = document.getElementById("token");
const fault = document.getElementById("unlock-fault");
const lock = document.getElementById("lock");

export let isUnlocked = false;
let whenChanged = () => {};

export function onChange(callback) {
  whenChanged = callback;
}

export function know(unlocked) {
  isUnlocked = unlocked;
  const words = unlocked ? "Commands are unlocked; lock them" : "Unlock commands";
  lock.replaceChildren(glyph(unlocked ? "open" : "locked"));
  set(lock, "aria-label", words);
  set(lock, "title", words);
  whenChanged();
}

// The answer to a POST, or to a GET without a body: [status, object].
export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  let answer = {};
  try {
    answer = await response.json();
  } catch {
    // Not ours: a proxy's, or none at all.
  }
  return [response.status, answer];
}

async function unlock(token) {
  const [status, answer] = await ask("/api/session", { token });
  if (status === 200) know(true);
  return status === 200 ? "" : answer.error ?? `The server says ${status}.`;
}

// A token in the address is used once and taken out of it, so that no history keeps it.
export async function unlockByAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  history.replaceState(null, "", location.pathname);
  await unlock(given);
}

// Whether it was given, as soon as the dialog is closed.
export function askForToken() {
  fault.textContent = "";
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(isUnlocked), { once: true }));
}

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  fault.textContent = await unlock(field.value);
  if (!fault.textContent) {
    dialog.close();
    dispatchEvent(new Event("unlocked"));
  }
});
document.getElementById("unlock-cancel").addEventListener("click", () => dialog.close());
lock.addEventListener("click", async () => {
  if (!isUnlocked) return askForToken();
  await ask("/api/session/end", {});
  location.reload();
});
