// What an evaluation asks a person, by keys: the choices that it offers, and a remark.
"use strict";

const asked = document.querySelector("#asked");
const said = document.querySelector("#said");
const WORDS = { y: "it worked", n: "it did not", g: "go", p: "picture again", u: "take back the last", r: "repeat", f: "the robot failed", q: "stop here" };
let drawn = new Map();

async function answer(one, choice) {
  const remark = soar.find("input.remark", drawn.get(one.which)).value.trim();
  try {
    await soar.ask(`${soar.base}/dialogue`, { which: one.which, number: one.number, said: choice, remark, who: soar.who() });
    said.textContent = `${WORDS[choice] || choice}${remark ? `, ${remark}` : ""}`;
    soar.find("input.remark", drawn.get(one.which)).value = "";
  } catch (error) { said.textContent = error.message; }
  await look();
}

function draw(one) {
  if (!drawn.has(one.which)) {
    const element = document.querySelector("#question").content.cloneNode(true).firstElementChild;
    asked.append(element);
    drawn.set(one.which, element);
  }
  const element = drawn.get(one.which);
  soar.find(".which", element).textContent = one.which;
  soar.find(".lines", element).replaceChildren(...one.lines.map((line) => soar.el("p", "soft", line)));
  soar.find(".text", element).textContent = one.text || "The robot works …";
  const picture = soar.find("img", element);
  if (one.picture) picture.src = `data:image/jpeg;base64,${one.picture}`; else picture.removeAttribute("src");
  if (element.dataset.number === one.number) return;
  element.dataset.number = one.number;
  soar.find(".choices", element).replaceChildren(...one.choices.map((choice) => {
    const button = soar.el("button", "", `${WORDS[choice] || choice} `);
    button.append(soar.el("kbd", "", choice));
    button.addEventListener("click", () => answer(one, choice));
    return button;
  }));
  element.soarAsked = one;
}

async function look() {
  const now = await soar.ask(`${soar.base}/dialogue/now`);
  now.asked.forEach(draw);
  const there = new Set(now.asked.map((one) => one.which));
  for (const [which, element] of drawn) if (!there.has(which)) { element.remove(); drawn.delete(which); }
  document.querySelector("#nothing").classList.toggle("hidden", drawn.size > 0);
}

document.addEventListener("keydown", (event) => {
  if (soar.typing(event) || event.repeat) return;
  const open = [...drawn.values()].map((element) => element.soarAsked).filter((one) => one && one.choices.includes(event.key.toLowerCase()));
  if (open.length === 1) answer(open[0], event.key.toLowerCase());
});
(async () => {
  for (;;) {
    if (!document.hidden) await look().catch((error) => { said.textContent = error.message; });
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
})();
