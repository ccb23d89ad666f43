// Put it together.

/** Read the document: JSON, compressed by gzip, in Base64. */
async function read() {
  const packed = atob(document.getElementById("document").textContent);
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(unpacked).text());
}

/** Updates that wrote a baseline. */
const RECORDED = ["first", "added", "replaced"];

async function start() {
  let documents;
  try {
    documents = await read();
  } catch (error) {
    unreadable(error);
    return;
  }
  documents.tests.forEach(useTerminalStatus);
  const entries = documents.tests.map((test) => entryOf(test));
  const ids = new Map();
  for (const { test } of entries) ids.set(test.id, (ids.get(test.id) ?? 0) + 1);
  for (const entry of entries) {
    entry.anchor = ids.get(entry.test.id) > 1 ? `${entry.test.id}@${entry.test.arch}` : entry.test.id;
  }
  const [status, text] = headline(documents, entries);
  const title = document.getElementById("headline");
  title.textContent = text;
  title.dataset.status = status;
  document.title = `${text} - pytest-trt report`;
  const table = new TestTable(documents, entries);
  document.getElementById("overview").replaceChildren(...overview(documents, entries, (anchor) => table.open(anchor), (statuses) => table.show(statuses)));
  document.getElementById("tests").replaceChildren(...table.elements);
  document.getElementById("footer").textContent = `Written by ${documents.written_by}, format ${documents.schema}. Charts by uPlot: hover for figures, drag to zoom, double-click to see all again.`;
  theme();
  keys(table);
  const openNamed = () => {
    const anchor = decoded(location.hash.slice(1));
    if (anchor) table.open(anchor);
  };
  window.addEventListener("hashchange", openNamed);
  openNamed();
  document.documentElement.dataset.readyMs = performance.now().toFixed(0);
}

/** Use the status of the terminal: failed, or recorded where the figures became the baseline. */
function useTerminalStatus(test) {
  test.unmeasured = test.status === "failed" && test.judged === false;
  const recorded = test.results.filter((result) => result.status === "not measured" && RECORDED.includes(result.speed?.baseline_update));
  if (test.status !== "not measured" || test.outcome !== "passed" || !recorded.length) return;
  for (const one of [test, ...recorded]) one.status = "recorded";
}

/** Explain why nothing is shown: the file was truncated, or the browser is too old. */
function unreadable(error) {
  const old = typeof DecompressionStream === "undefined";
  const why = old
    ? "This browser has no DecompressionStream: open the page in a newer one."
    : `The file is damaged (${error.message}): download it again.`;
  const title = document.getElementById("headline");
  title.textContent = "The report cannot be shown";
  title.dataset.status = "failed";
  document.getElementById("overview").replaceChildren(el("p", { class: "banner" }, why, " ", "The same data is in a .json report: ", el("code", {}, "pytest --trt-report=report.json"), "."));
  document.documentElement.dataset.readyMs = performance.now().toFixed(0);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function keys(table) {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    table.search.focus();
    event.preventDefault();
  });
}

/** Light or dark like the system until the switch is used; always light on paper. */
function theme() {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");
  const show = (name) => {
    if (name) root.dataset.theme = name;
    else delete root.dataset.theme;
    button.textContent = current() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${button.textContent.toLowerCase()} colours`);
    redrawCharts();
  };
  button.addEventListener("click", () => {
    show(current() === "dark" ? "light" : "dark");
    storedTheme(root.dataset.theme);
  });
  dark.addEventListener("change", () => show(root.dataset.theme));
  let before;
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    show("light");
  });
  window.addEventListener("afterprint", () => show(before));
  show(storedTheme());
}

/** Store the theme where the browser allows it for files. */
function storedTheme(value) {
  try {
    if (value) localStorage.setItem("pytest-trt-theme", value);
    return localStorage.getItem("pytest-trt-theme") ?? undefined;
  } catch {
    return undefined;
  }
}

start();
