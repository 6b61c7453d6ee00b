// One or two episodes on one time line: frames, the subgoal that is pursued, and a cursor on every curve.
"use strict";

const STEP_MS = 200;
const AHEAD = 30;

class Player {
  constructor(root) {
    this.root = root;
    this.length = Number(root.dataset.length);
    this.subgoals = root.dataset.subgoals ? root.dataset.subgoals.split(",").map(Number) : [];
    this.camera = soar.find("img.camera", root);
    this.goals = root.querySelectorAll("img.goal");
    this.under = root.querySelector("img.under");
    this.shown = -1;
    this.kept = new Map();
  }

  frame(step) { return `${root(this, "frames")}${step}`; }

  show(step) {
    const at = Math.min(step, this.length);
    this.load(at);
    this.camera.src = this.frame(at);
    if (this.under) this.under.src = this.frame(at);
    const number = this.subgoals.filter((begin) => begin <= at).length - 1;
    if (number !== this.shown && number >= 0) {
      this.goals.forEach((image) => { image.src = root(this, "goals").replace("NUMBER", number); });
      this.shown = number;
    }
    this.root.querySelectorAll("line.cursor").forEach((line) => {
      const x = (600 * at) / Math.max(1, this.length);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    });
    soar.find(".at", this.root).textContent = `step ${at} of ${this.length}, ${(at * STEP_MS / 1000).toFixed(1)} s`;
  }

  load(step) {
    for (let next = step; next <= Math.min(step + AHEAD, this.length); next += 1) {
      if (this.kept.has(next)) continue;
      const image = new Image();
      image.src = this.frame(next);
      this.kept.set(next, image);
    }
  }
}

function root(player, name) { return player.root.dataset[name]; }

const players = [...document.querySelectorAll(".player")].map((element) => new Player(element));
const last = Math.max(...players.map((player) => player.length));
const slider = document.querySelector("#slider");
const button = document.querySelector("#play");
let step = Math.min(Number(new URLSearchParams(location.search).get("step")) || 0, last);
let timer = null;

// The address is that of what is seen, once it stands still: browsers count how often it changes.
let noted = null;
function note() {
  clearTimeout(noted);
  noted = setTimeout(() => {
    const address = new URL(location.href);
    if (step) address.searchParams.set("step", step); else address.searchParams.delete("step");
    if (timer === null && address.href !== location.href) history.replaceState(null, "", address);
  }, 300);
}

function show(next) {
  step = Math.max(0, Math.min(last, next));
  slider.value = step;
  players.forEach((player) => player.show(step));
  note();
}

function play(on) {
  clearInterval(timer);
  note();
  timer = on ? setInterval(() => (step >= last ? play(false) : show(step + 1)), STEP_MS / Number(document.querySelector("#speed").value)) : null;
  button.textContent = on ? "Pause" : "Play";
}

slider.max = last;
slider.addEventListener("input", () => { play(false); show(Number(slider.value)); });
button.addEventListener("click", () => { if (step >= last) show(0); play(timer === null); });
document.querySelector("#speed").addEventListener("change", () => play(timer !== null));
document.addEventListener("keydown", (event) => {
  if (soar.typing(event) && event.target !== slider) return;
  if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); button.click(); }
  if (event.target !== slider && event.key === "ArrowRight") show(step + 1);
  if (event.target !== slider && event.key === "ArrowLeft") show(step - 1);
});
document.querySelectorAll(".curve svg").forEach((svg) => svg.addEventListener("click", (event) => {
  const box = svg.getBoundingClientRect();
  play(false);
  show(Math.round(((event.clientX - box.left) / box.width) * Number(svg.closest(".player").dataset.length)));
}));
show(step);

// A person's word about the episode that is shown alone.
const judging = document.querySelector("#judging");
if (judging) {
  const said = soar.find(".said", judging);
  judging.querySelectorAll("button[data-verdict]").forEach((one) => one.addEventListener("click", async () => {
    if (!soar.who()) { said.textContent = "Say who you are first."; return; }
    try {
      const answer = await soar.ask(`${soar.base}/labels`, { who: soar.who(), id: judging.dataset.id, verdict: one.dataset.verdict });
      said.textContent = `${soar.who()} says: ${answer.says}`;
    } catch (error) { said.textContent = error.message; }
  }));
}
