// One episode after the other: y it worked, n it did not, u nobody can tell, z takes the last word back, s leaves it for later.
"use strict";

const box = document.querySelector("#audit");
const parts = Object.fromEntries(["task", "why", "left", "said", "count", "before", "after", "whole", "history"]
  .map((name) => [name, document.querySelector(`#${name}`)]));
const threshold = Number(box.dataset.threshold);
const given = [];
const skipped = [];
const begun = Date.now();
const mine = sessionStorage.getItem("soar-page") || crypto.getRandomValues(new Uint32Array(4)).join("-");
sessionStorage.setItem("soar-page", mine); // a page that is loaded again is the same, and goes on with its episode
let now = null;
let busy = false;
let late = false; // z was pressed while something was under way; keys that judge are for what is seen, and wait for nothing

function say(text) { parts.said.textContent = text; }

function count() {
  const minutes = Math.max(0.05, (Date.now() - begun) / 60000);
  parts.count.textContent = given.length ? `${given.length} judged, ${(given.length / minutes).toFixed(0)} a minute` : "";
}

function show(offer) {
  now = offer;
  box.dataset.id = offer.id || "";
  box.querySelectorAll("button[data-key]").forEach((button) => { button.disabled = !offer.id; });
  document.querySelector("#undo").disabled = given.length === 0;
  if (!offer.id) {
    parts.task.textContent = "Nothing is left to judge: everything was judged, or is being looked at by somebody else.";
    for (const name of ["why", "left"]) parts[name].textContent = "";
    for (const name of ["before", "after"]) parts[name].removeAttribute("src");
    return;
  }
  const frames = `${soar.base}/frame/${offer.attempt}/${offer.first_row}`;
  parts.task.textContent = offer.instruction || "(no instruction)";
  parts.why.textContent = offer.why;
  parts.left.textContent = `${offer.left} not judged by anybody`;
  parts.before.src = `${frames}/0`;
  parts.after.src = `${frames}/${offer.length}`;
  parts.whole.href = `${soar.base}/episode?id=${encodeURIComponent(offer.id)}`;
}

async function following() {
  show(await soar.ask(`${soar.base}/audit/next`, { who: soar.who(), threshold, skipped: skipped.slice(-1000), page: mine }));
}

function list() {
  parts.history.replaceChildren(...given.slice(-6).reverse().map((one) => {
    const line = soar.el("li");
    const link = soar.el("a", "", one.task);
    link.href = `${soar.base}/episode?id=${encodeURIComponent(one.id)}`;
    line.append(soar.verdict(one.says === "success" ? true : one.says === "failure" ? false : null), " ", link);
    return line;
  }));
  document.querySelector("#undo").disabled = given.length === 0;
}

async function judge(verdict) {
  if (!now || !now.id) return;
  const offer = now;
  try {
    const labels = offer.asked_again ? null : offer.labels;
    const answer = await soar.ask(`${soar.base}/labels`, { who: soar.who(), id: offer.id, verdict, labels });
    given.push({ ...answer, task: offer.instruction });
    say("");
  } catch (error) {
    if (error.status !== 409) throw error;
    offer.asked_again = true; // the next key is an answer to that
    say(error.message);
    return;
  }
  count();
  list();
  await following();
}

async function undo() {
  const one = given.pop();
  if (!one) return;
  const answer = await soar.ask(`${soar.base}/labels/undo`, { who: soar.who(), id: one.id, time_s: one.time_s });
  say(`taken back: ${one.task}, now ${answer.says}`);
  count();
  list();
}

async function skip() {
  if (now && now.id) skipped.push(now.id);
  await following();
}

const ACTIONS = { y: () => judge("y"), n: () => judge("n"), u: () => judge("u"), z: undo, s: skip };

async function act(key) {
  if (!ACTIONS[key]) return;
  if (busy) { late = late || key === "z"; return; }
  if (!soar.who()) {
    say("Say who you are first: judgements are kept with a name.");
    document.querySelector("input[data-who]").focus();
    return;
  }
  busy = true;
  try { await ACTIONS[key](); } catch (error) { say(error.message); } finally { busy = false; }
  if (late) { late = false; await act("z"); }
}

document.addEventListener("keydown", (event) => {
  if (!soar.typing(event) && !event.repeat) act(event.key.toLowerCase());
});
document.querySelectorAll("button[data-key]").forEach((button) => button.addEventListener("click", () => act(button.dataset.key)));

function begin() {
  if (!soar.who()) { document.querySelector("input[data-who]").focus(); return; }
  following().catch((error) => say(error.message));
}
document.querySelector("#who").addEventListener("submit", (event) => {
  event.preventDefault();
  localStorage.setItem("soar-who", document.querySelector("input[data-who]").value.trim());
  document.activeElement.blur();
  begin();
});
list();
begin();
