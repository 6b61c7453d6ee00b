// The token comes after # and is sent to this console alone; then a cookie stands for it.
"use strict";

const form = document.querySelector("form");
const wrong = document.querySelector("#wrong");

async function enter(token) {
  const answer = await fetch("/enter", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }), credentials: "same-origin",
  });
  if (answer.ok) {
    location.replace(document.body.dataset.to);
    return;
  }
  const said = await answer.json().catch(() => ({}));
  wrong.textContent = (said.error && said.error.message) || `status ${answer.status}`;
  wrong.classList.remove("hidden");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  enter(form.elements.token.value.trim());
});
if (location.hash.length > 1) {
  const token = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
  enter(token);
}
