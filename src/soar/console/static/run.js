// What an operator sets off limits, and allows again; and the page about a run as it goes on.
"use strict";

// Nothing is replaced under somebody who reads what they have opened, or stands on a link.
const part = document.querySelector("#part");
const AGAIN_MS = 60000;
setInterval(async () => {
  if (document.hidden || part.contains(document.activeElement) || part.querySelector("details[open]")) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
  if (!answer || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#part");
  if (fresh) part.replaceChildren(...fresh.childNodes);
}, AGAIN_MS);

const limits = document.querySelector("#limits");

async function setLimits(what, task) {
  const said = document.querySelector("#limits-said");
  if (!soar.who()) { said.textContent = "Say who you are first: orders are kept with a name."; soar.find("input[data-who]", limits).focus(); return; }
  try {
    const now = await soar.ask(`${soar.base}/orders`, { do: what, who: soar.who(), task });
    document.querySelector("#forbidden").replaceChildren(...now.off_limits.map(line));
    said.textContent = `${what}: ${task}, said by ${soar.who()}, and journaled`;
    limits.elements.task.value = "";
  } catch (error) { said.textContent = error.message; }
}

function line(task) {
  const element = soar.el("li", "", `${task} `);
  const button = soar.el("button", "", "allow");
  button.type = "button";
  button.addEventListener("click", () => setLimits("allow", task));
  element.append(button);
  return element;
}

if (limits) {
  limits.addEventListener("submit", (event) => {
    event.preventDefault();
    setLimits("set off limits", limits.elements.task.value.trim());
  });
  document.querySelectorAll("button[data-allow]").forEach((button) => {
    button.addEventListener("click", () => setLimits("allow", button.dataset.allow));
  });
}
