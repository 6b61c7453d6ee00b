// Robots as they are now. The page asks for what is newer than what it has, draws it, and asks again; hidden, it asks for nothing.
"use strict";

const list = document.querySelector("#robots");
const state = document.querySelector("#state");
const phase = document.querySelector("#phase");
const known = new Map();
let still = localStorage.getItem("soar-still") === "yes";

function card(key) {
  const template = document.querySelector("#robot").content.cloneNode(true);
  const element = template.firstElementChild;
  element.dataset.key = key;
  list.append(element);
  return element;
}

function seconds(age) { return age < 1.5 ? "now" : age < 90 ? `${age.toFixed(0)} s ago` : `${(age / 60).toFixed(0)} min ago`; }

function sure(p) { return p === null || p === undefined ? "" : ` (p = ${Number(p).toFixed(2).replace(/^0/, "")})`; }

function fill(element, robot) {
  const part = (name) => soar.find(`.${name}`, element);
  part("name").textContent = robot.robot;
  part("does").textContent = robot.gone ? "not heard of" : robot.phase;
  part("task").textContent = robot.instruction || "–";
  part("step").textContent = `episode ${robot.index ?? "–"}, step ${robot.step}, subgoal ${robot.subgoals}`;
  element.classList.toggle("gone", robot.gone);
  element.dataset.seen = Date.now() - robot.age_s * 1000;
  if (!still || !element.dataset.drawn) {
    for (const [name, data] of [["camera", robot.camera], ["goal", robot.subgoal]]) {
      element.querySelectorAll(`img.${name}`).forEach((image) => {
        if (data) image.src = `data:image/jpeg;base64,${data}`; else image.removeAttribute("src");
      });
    }
    element.dataset.drawn = "yes";
  }
  soar.fill(part("answers"), robot.answers, () => robot.answers.map((one) => {
    const line = soar.el("li", "", `${one.question} `);
    const words = String(one.answer || "").slice(0, 120);
    if (one.what === "success") { // what the model answered, and the verdict that follows: they differ where "no" means success
      if (words) line.append(soar.el("b", "", words), " ");
      line.append(soar.verdict(one.said), sure(one.probability));
      return line;
    }
    const said = one.said === true ? "yes" : one.said === false ? "no" : "undecidable";
    line.append(soar.el("b", "", said), sure(one.probability));
    if (words && words.toLowerCase() !== said) line.append(soar.el("small", "", ` “${words}”`));
    return line;
  }));
  soar.fill(part("attempts"), robot.attempts, () => robot.attempts.map((one) => {
    const line = soar.el("li");
    const link = soar.el("a", "", one.instruction || one.id);
    link.href = `${soar.base}/episode?id=${encodeURIComponent(one.id)}`;
    line.append(soar.verdict(one.success), `${sure(one.probability)} `, link);
    return line;
  }));
  soar.fill(part("faults"), robot.faults, () => robot.faults.map((one) => soar.el("li", "", `${one.kind}: ${one.detail}`)));
  part("faulty").classList.toggle("hidden", robot.faults.length === 0);
}

function draw(said) {
  for (const robot of said.robots) {
    if (!known.has(robot.key)) known.set(robot.key, { element: card(robot.key) });
    const one = known.get(robot.key);
    one.version = robot.version;
    fill(one.element, robot);
  }
  document.querySelector("#nobody").classList.toggle("hidden", known.size > 0);
  phase.classList.toggle("hidden", !said.phase);
  if (said.phase) {
    const left = said.phase.left_s === null ? "" : `, about ${Math.ceil(said.phase.left_s / 60)} min left`;
    soar.find(".words", phase).textContent = `${said.phase.name}: ${said.phase.done} of ${said.phase.total}${left}. ${said.phase.note}`;
    const bar = soar.find("progress", phase);
    bar.max = Math.max(1, said.phase.total);
    bar.value = said.phase.done;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const visible = () => document.hidden ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true })) : null;

async function follow() {
  for (;;) {
    await visible();
    try {
      const query = [...known].map(([key, one]) => `v${encodeURIComponent(key)}=${one.version}`).join("&");
      draw(await soar.ask(`${soar.base}/live/next?${query}`));
      state.textContent = "";
      if (still) await pause(10000);
    } catch (error) {
      state.textContent = error.status === 401 ? error.message : "The console does not answer; robots go on without it. Trying again …";
      await pause(2000);
    }
  }
}

setInterval(() => {
  for (const { element } of known.values()) {
    const age = (Date.now() - Number(element.dataset.seen)) / 1000;
    soar.find(".age", element).textContent = seconds(age);
    element.classList.toggle("gone", age > 15);
  }
}, 500);

const box = document.querySelector("#still");
box.checked = still;
box.addEventListener("change", () => {
  still = box.checked;
  localStorage.setItem("soar-still", still ? "yes" : "no");
  known.forEach(({ element }) => { delete element.dataset.drawn; });
});
follow();

// The fleet, or the run without one, and what an operator says to it.
const fleet = document.querySelector("#fleet");
const orders = document.querySelector("#orders-said");

// A row is kept as long as its robot is there: whoever stands on one of its buttons stays there.
const rows = new Map();

function row(robot) {
  if (!rows.has(robot.name)) {
    const made = soar.el("tr");
    made.dataset.robot = robot.name;
    const names = [...fleet.querySelectorAll("th")].map((head) => head.textContent);
    names.forEach((name, number) => {
      const cell = soar.el("td", number === 1 ? "does" : "");
      if (number > 0 && name) cell.dataset.name = name;
      made.append(cell);
    });
    rows.set(robot.name, made);
  }
  const line = rows.get(robot.name);
  const cells = [robot.name, robot.phase, robot.instruction, robot.policy, `${robot.successes}/${robot.episodes}`,
    String(Object.values(robot.faults).reduce((sum, one) => sum + one, 0)), robot.detail];
  cells.forEach((text, number) => { line.children[number].textContent = text; });
  if (fleet.dataset.may) {
    const names = robot.phase === "waiting" ? ["release", "stop"] : robot.phase === "paused" ? ["resume", "stop"] : robot.phase === "stopped" ? ["resume"] : ["pause", "stop"];
    soar.fill(line.lastElementChild, names, () => names.flatMap((name) => {
      const button = soar.el("button", name === "stop" ? "stop" : "", name);
      button.addEventListener("click", () => order(name === "release" ? "resume" : name, [robot.name]));
      return [button, " "];
    }));
  }
  return line;
}

function drawFleet(said) {
  if (!said.state) { soar.find(".words", fleet).textContent = said.away || ""; return; } // of a run, nothing has begun
  if (said.state.words !== undefined) { // a run without a fleet: its robots are below, and hear what is said to all
    const goesOn = said.state.finished || "the one that began it goes on where it stopped";
    const works = said.state.works ? "At work." : `No command works here now: ${goesOn}.`;
    soar.find(".words", fleet).textContent = said.state.words && said.state.works ? said.state.words : `${said.state.words} ${works}`.trim();
    fleet.classList.toggle("hidden", !fleet.dataset.may && !said.state.words); // who may only look hears of orders that hold
    return;
  }
  const lines = said.state.robots.map(row);
  const body = soar.find("tbody", fleet);
  if (lines.length !== body.children.length || lines.some((line, number) => body.children[number] !== line)) body.replaceChildren(...lines);
  const deployment = said.state.deployment;
  const words = deployment ? ` Policy ${deployment.policy}: ${deployment.done ? `${deployment.done}: ${deployment.sentence}` : `${deployment.canary || "all robots"} tries it`}` : "";
  soar.find(".words", fleet).textContent = `${said.state.episodes} of ${said.state.wanted} episodes.${words}`;
}

async function order(what, robots = [], more = {}, sure = "") {
  if (!soar.who()) { orders.textContent = "Say who you are first: orders are kept with a name."; document.querySelector("input[data-who]").focus(); return; }
  if (sure && !confirm(sure)) return;
  orders.textContent = `${what} …`;
  try {
    const said = await soar.ask(`${soar.base}/orders`, { do: what, who: soar.who(), robots, ...more });
    if (said.state) drawFleet(said);
    orders.textContent = said.stopped
      ? said.stopped.map((one) => `${one.name}: ${one.still ? "stopped" : "STILL MOVING, switch its power off"}`).join("; ") || "no arm is driven from this computer"
      : `${what}: said to ${robots.join(", ") || "all"} by ${soar.who()}, and journaled`;
  } catch (error) { orders.textContent = error.message; }
}

document.querySelectorAll("button[data-order]").forEach((button) => button.addEventListener("click", () => order(button.dataset.order, [], {}, button.dataset.sure)));
const deploy = document.querySelector("#deploy");
if (deploy) {
  deploy.addEventListener("submit", (event) => {
    event.preventDefault();
    order("deploy", [], { policy: deploy.elements.policy.value, canary: deploy.elements.canary ? deploy.elements.canary.value.trim() : "" });
  });
}
if (fleet) {
  (async () => {
    for (;;) {
      await visible();
      try { drawFleet(await soar.ask(`${soar.base}/fleet`)); } catch (error) { soar.find(".words", fleet).textContent = error.message; }
      await pause(1500);
    }
  })();
}
