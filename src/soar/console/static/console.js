// What all pages share: who somebody is, saying something to the console, making elements. Texts are always set as texts.
"use strict";

const soar = {
  base: document.body.dataset.base || "",

  el(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  },

  find(selector, within = document) { return within.querySelector(selector); },

  // Resolves to what the console answers; rejects with its words.
  async ask(path, body) {
    const options = body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    };
    const answer = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
    const said = await answer.json().catch(() => ({}));
    if (answer.status === 401) {
      const error = new Error("This console has begun again with another token: open the address that it shows now.");
      error.status = 401;
      throw error;
    }
    if (!answer.ok) {
      const error = new Error((said.error && said.error.message) || `status ${answer.status}`);
      error.status = answer.status;
      throw error;
    }
    return said;
  },

  who() { return (localStorage.getItem("soar-who") || "").trim(); },

  nameField(input) {
    input.value = soar.who();
    input.addEventListener("change", () => localStorage.setItem("soar-who", input.value.trim()));
  },

  verdict(success) {
    const [name, sign] = success === true ? ["success", "✓"] : success === false ? ["failure", "✕"] : ["undecided", "?"];
    return soar.el("span", `v v-${name}`, `${sign} ${name}`);
  },

  // Sets what is in an element, unless it is that already: whoever stands on a link in it stays there.
  fill(element, what, make) {
    const now = JSON.stringify(what);
    if (element.soarHolds === now) return;
    element.soarHolds = now;
    element.replaceChildren(...make());
  },

  typing(event) {
    return event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  },
};

document.querySelectorAll("input[data-who]").forEach(soar.nameField);
document.querySelectorAll("form[data-auto] select").forEach((select) => {
  select.addEventListener("change", () => select.form.requestSubmit());
});
// A form without what was left empty makes a short address.
document.querySelectorAll("form.filters").forEach((form) => form.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
}));
