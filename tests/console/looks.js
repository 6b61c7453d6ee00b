// What is wrong with how a page looks: texts and signs that stand out too little (WCAG 2.2 AA), things without a name,
// and cells of tables that nobody sees without moving them.
() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const background = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] > 0) layers.unshift(colour);
      if (colour[3] === 1) break;
    }
    return layers.reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getBoundingClientRect().width > 0;
  const found = [];
  const check = (element, what, colour, under, least) => {
    let opacity = 1;
    for (let one = element; one; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
    const drawn = over([...colour.slice(0, 3), colour[3] * opacity], under);
    const much = ratio(drawn, under);
    if (much < least - 0.005) found.push(`${what} of <${element.tagName} class="${element.getAttribute("class") || ""}">: ${much.toFixed(2)}, not ${least}`);
  };

  for (const element of document.body.querySelectorAll("*")) {
    if (/^(script|style|noscript|template|title|option|datalist)$/i.test(element.tagName) || !seen(element) || element.matches(":disabled")) continue;
    const style = getComputedStyle(element);
    const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent.trim()).join(" ").trim();
    if (own && element.tagName === "text") {
      const box = /^(g|a)$/.test(element.parentElement.tagName) && element.parentElement.querySelector(":scope > rect");
      check(element, `"${own.slice(0, 30)}"`, parse(style.fill), box ? parse(getComputedStyle(box).fill) : background(element), 4.5);
    } else if (own) {
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      check(element, `"${own.slice(0, 30)}"`, parse(style.color), background(element), large ? 3 : 4.5);
    }
    if (element.matches("input:not([type=range], [type=checkbox]), select, textarea")) {
      check(element, "the value", parse(style.color), background(element), 4.5);
      if (element.placeholder) check(element, "the placeholder", parse(getComputedStyle(element, "::placeholder").color), background(element), 4.5);
    }
    if (element.matches("input:not([type=range], [type=checkbox]), select, textarea, button")) {
      check(element, "the border", parse(style.borderTopColor), background(element.parentElement), 3);
    }
    if (element.matches("svg .line, svg .interval, svg .mark, svg .cursor")) check(element, "the line", parse(style.stroke), background(element), 3);
    if (element.matches("svg .dot")) check(element, "the dot", parse(style.fill), background(element), 3);
    if (element.matches("svg .fill")) {
      check(element, "the bar", parse(style.fill), parse(getComputedStyle(element.parentElement.querySelector(".track")).fill), 3);
    }
    if (element.matches("img:not([alt]), button:empty, svg:not([aria-label], [aria-hidden])")) found.push(`<${element.tagName}> has no name`);
    if (element.matches("input:not([type=hidden]), select, textarea") && !(element.labels && element.labels.length) && !element.getAttribute("aria-label")) {
      found.push(`<${element.tagName} name="${element.name}"> has no name`);
    }
  }
  for (const cell of document.querySelectorAll("th, td")) {
    const beyond = Math.round(cell.getBoundingClientRect().right - document.documentElement.clientWidth);
    if (seen(cell) && beyond > 0) found.push(`"${cell.textContent.trim().slice(0, 30)}" of a table ends ${beyond} px beyond the page`);
  }
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) found.push(`${wide} px too wide`);
  return [...new Set(found)];
}
