/** Make an element. Children are elements or text; text is never markup. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** What may be wider than its place: the keyboard reaches it where it has to be scrolled. */
function scrollable(node, label) {
  new ResizeObserver(() => {
    const hides = node.scrollWidth > node.clientWidth || node.scrollHeight > node.clientHeight;
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", label]]) {
      if (hides) node.setAttribute(name, value);
      else node.removeAttribute(name);
    }
  }).observe(node);
  return node;
}

/** A table of a header line and rows of cells. */
function grid(headers, rows, attributes = {}) {
  return scrollable(el(
    "div",
    { class: "scroll" },
    el(
      "table",
      { class: "grid", ...attributes },
      el("thead", {}, el("tr", {}, headers.map((text) => (text ? el("th", { scope: "col" }, text) : el("td", {}))))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, at) => el("td", { "data-label": typeof headers[at] === "string" ? headers[at] : null }, cell))))),
    ),
  ), "Table");
}

/** Pairs of label and value; those without a value are left out. */
function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, known.map(([label, value]) => [
    el("div", {}, el("dt", {}, label), el("dd", {}, value)),
  ]));
}

function list(lines, attributes = {}) {
  return el("ul", attributes, lines.map((line) => el("li", {}, line)));
}

/** What to do: the text, each command to be copied, and alternatives as a list. */
function remedy({ text, alternatives, commands }) {
  if (!text && !alternatives.length && !commands.length) return null;
  return [
    el("p", { class: "fix" }, el("strong", {}, "Fix: "), text),
    commands.map(command),
    alternatives.length ? list(alternatives) : null,
  ];
}

/** A code, with its meaning as a tooltip. */
function codeOf({ code, title }) {
  return el("code", { class: "code", title: title || null }, code);
}

function folded(title, ...children) {
  return el("details", {}, el("summary", {}, title), children);
}

/** What a chart shows as a table, which is made when somebody opens it. */
function asTable(title, headers, rows) {
  const place = el("div", { class: "figures" });
  const node = folded(title, scrollable(place, title));
  node.addEventListener("toggle", () => place.childNodes.length || place.append(grid(headers, rows())), { once: true });
  return node;
}

/** A command, and a button that copies it. */
function command(text) {
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  const code = scrollable(el("pre", { class: "command" }, el("code", {}, text)), "Command");
  button.addEventListener("click", async () => {
    const copied = await copy(text, code);
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return el("div", { class: "copyable" }, code, button);
}

async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(node); // the browser allows no more: select it, at least
    return false;
  }
}

/** Buttons of which one is pressed. */
function choice(label, options, chosen, choose) {
  const buttons = options.map(([value, text]) => {
    const pressed = value === chosen;
    return el("button", { type: "button", "aria-pressed": String(pressed), onclick: () => {
      for (const button of buttons) button.setAttribute("aria-pressed", "false");
      buttons[options.findIndex(([other]) => other === value)].setAttribute("aria-pressed", "true");
      choose(value);
    } }, text);
  });
  return el("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}
