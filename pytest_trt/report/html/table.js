// The table of tests: a row for each test, opened in place.

/** A test on one architecture, with what the table shows of it. */
function entryOf(test) {
  const used = test.results.filter((result) => result.accuracy).map((result) => number(result.accuracy.used));
  const changes = test.results.flatMap((result) => result.speed?.changes ?? []).filter((one) => one.change !== null);
  const speed = test.results.find((result) => result.speed)?.speed ?? null;
  return {
    test,
    short: test.test.includes("::") ? test.test.slice(test.test.indexOf("::") + 2) : test.test,
    used: used.length ? used.reduce((most, one) => (Number.isNaN(one) || one > most ? one : most), -1) : null,
    // The metric that the terminal shows first, if it could be compared.
    change: changes.find((one) => one.metric === speed?.leading) ?? changes[0] ?? null,
    speed,
    tasks: test.results.flatMap((result) => result.task_metrics ?? []),
  };
}

/** Tests that differ in nothing but the architecture, together. */
function groupsOf(entries) {
  const byTest = new Map();
  for (const entry of entries) {
    const groups = byTest.get(entry.test.test) ?? [];
    const group = groups.find((one) => one.entries.every((other) => other.test.arch !== entry.test.arch));
    if (group) group.entries.push(entry);
    else groups.push({ entries: [entry] });
    byTest.set(entry.test.test, groups);
  }
  const groups = [...byTest.values()].flat();
  for (const group of groups) {
    group.entries.sort((a, b) => gravity(a) - gravity(b));
    group.worst = group.entries[0];
    group.text = group.entries.flatMap(({ test }) => [test.id, test.model, test.precision, test.arch, test.status, test.reason]).join("\n").toLowerCase();
  }
  return groups;
}

function gravity(entry) {
  const at = GRAVITY.indexOf(entry.test.status);
  return at < 0 ? GRAVITY.length : at;
}

function speedCell(entry) {
  if (entry.change) {
    const one = entry.change;
    return el("span", { class: "speed", "data-tone": tone(one) },
      `${METRICS[one.metric]} `, el("strong", {}, change(one.change)), el("small", {}, ` ${bounds(one)}`));
  }
  if (!entry.speed && entry.tasks.length) {
    return el("span", { class: "speed" }, entry.tasks.map((one) => el("span", {},
      `${one.name} `, el("strong", {}, digits(one.value)), one.stored === null ? null : el("small", {}, ` baseline ${digits(one.stored)} `))));
  }
  const metric = entry.speed ? ["p99", "p95", "p50"].find((name) => figureOf(entry.speed.candidate, name) !== null) : null;
  return metric ? el("span", { class: "speed" }, `${METRICS[metric]} ${figure(metric, figureOf(entry.speed.candidate, metric))}`) : "";
}

function statusCell(entry) {
  const { status } = entry.test;
  const unlike = fails(entry) && !GRAVE.includes(status);
  return el("span", { class: "status" }, chip(status), unlike ? el("small", { class: "fails" }, "fails the run") : null);
}

function archCell(entry) {
  if (!entry) return el("span", { class: "muted" }, "not tested");
  return el("span", { class: "on-arch" }, chip(entry.test.status), entry.used === null ? null : meter(entry.used), speedCell(entry));
}

/** Columns: title, how a cell looks, what it is sorted by (least first). */
function columnsOf(archs) {
  const worst = ({ worst }) => worst;
  const text = (of) => ({ cell: (group) => of(worst(group)), key: (group) => of(worst(group)).toLowerCase() });
  const none = (value) => (value === null || value === undefined || Number.isNaN(value) ? Infinity : -value);
  const shared = [
    { title: "Status", cell: (group) => statusCell(group.worst), key: (group) => gravity(group.worst) },
    { title: "Test", key: (group) => group.worst.test.test.toLowerCase() },
    { title: "Model", ...text(({ test }) => test.model.slice(test.model.lastIndexOf("/") + 1)) },
    { title: "Precision", ...text(({ test }) => test.precision) },
  ];
  if (archs.length > 1) {
    const on = (group, arch) => group.entries.find((entry) => entry.test.arch === arch);
    return [...shared, ...archs.map((arch) => ({
      title: arch || "-",
      cell: (group) => archCell(on(group, arch)),
      key: (group) => (on(group, arch) ? gravity(on(group, arch)) : Infinity),
    }))];
  }
  return [
    ...shared,
    { title: "Arch", ...text(({ test }) => test.arch) },
    { title: "Tolerance used", cell: ({ worst }) => (worst.used === null ? "" : meter(worst.used)), key: ({ worst }) => none(worst.used) },
    { title: "Against baseline", cell: ({ worst }) => speedCell(worst), key: ({ worst }) => none(worst.change ? worse(worst.change.metric, worst.change.change) : null) },
  ];
}

class TestTable {
  constructor(documents, entries) {
    this.documents = documents;
    this.groups = groupsOf(entries);
    this.total = entries.length;
    this.statuses = new Set();
    this.order = { column: 0, reversed: false };
    this.columns = columnsOf([...new Set([...(documents.coverage?.required ?? []), ...entries.map(({ test }) => test.arch)])]);
    this.body = el("tbody", {});
    this.headers = this.columns.map((column, at) => el("th", { scope: "col" },
      el("button", { type: "button", onclick: () => this.sort(at) }, column.title)));
    this.table = el("table", { class: "tests" },
      el("caption", { class: "hidden" }, "Tests; a test's name opens it."),
      el("thead", {}, el("tr", {}, this.headers)), this.body);
    this.search = el("input", { type: "search", id: "search", placeholder: "Filter: name, model, precision, architecture", "aria-label": "Filter tests by text", oninput: () => this.apply() });
    this.shown = el("p", { class: "shown", role: "status" });
    this.tiles = this.tilesOf(entries);
    this.groups.forEach((group, at) => this.addRow(group, at));
    this.sort(0);
  }

  get elements() {
    if (!this.total) return [];
    return [el("h2", {}, "Tests"), this.tiles, el("div", { class: "controls" }, this.search, this.shown), this.table];
  }

  tilesOf(entries) {
    const counts = new Map();
    for (const { test } of entries) counts.set(test.status, (counts.get(test.status) ?? 0) + 1);
    const known = [...counts.keys()].sort((a, b) => GRAVITY.indexOf(a) - GRAVITY.indexOf(b));
    this.buttons = new Map(known.map((status) => [status, el("button", {
      type: "button", class: "tile", "data-status": status, "aria-pressed": "false",
      onclick: () => this.toggle(status),
    }, el("span", { class: "number" }, count(counts.get(status))), chip(status))]));
    const bar = el("div", { class: "bar", "aria-hidden": "true" }, known.map((status) =>
      el("span", { "data-status": status, style: `flex-grow:${counts.get(status)}` })));
    return el("div", {}, bar, el("div", { class: "tiles", role: "group", "aria-label": "Show tests by status" }, [...this.buttons.values()]));
  }

  addRow(group, at) {
    const { test } = group.worst;
    const cut = test.test.indexOf("::");
    group.button = el("button", { type: "button", class: "open", "aria-expanded": "false", "aria-controls": `detail-${at}`, onclick: () => this.toggleRow(group) },
      cut < 0 ? null : el("span", { class: "file" }, test.test.slice(0, cut + 2)), el("span", { class: "name" }, group.worst.short));
    group.number = at;
    group.row = el("tr", { class: "test", "data-status": test.status, "data-test": test.id },
      this.columns.map((column) => el("td", { "data-label": column.title }, column.cell ? column.cell(group) : group.button)));
    group.row.addEventListener("click", (event) => {
      if (!event.target.closest("button, a") && !String(getSelection())) this.toggleRow(group);
    });
    group.button.addEventListener("keydown", (event) => this.step(event, group));
  }

  /** Up and down go from row to row. */
  step(event, group) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    const visible = this.groups.filter((one) => !one.row.hidden);
    const next = visible[visible.indexOf(group) + by];
    if (next) next.button.focus();
    event.preventDefault();
  }

  sort(at) {
    const again = this.order.column === at && this.sorted;
    this.order = { column: at, reversed: again ? !this.order.reversed : false };
    this.sorted = true;
    const { key } = this.columns[at];
    const sign = this.order.reversed ? -1 : 1;
    const keyed = this.groups.map((group) => [key(group), group]);
    keyed.sort(([a, one], [b, other]) => {
      if (a === b) return one.number - other.number;
      if (a === Infinity || b === Infinity) return a === Infinity ? 1 : -1; // without a figure: last
      return sign * (a < b ? -1 : 1);
    });
    this.groups = keyed.map(([, group]) => group);
    this.headers.forEach((header, column) => {
      if (column === at) header.setAttribute("aria-sort", this.order.reversed ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    });
    this.body.replaceChildren(...this.groups.flatMap((group) => (group.detail ? [group.row, group.detail] : [group.row])));
    this.apply();
  }

  toggle(status) {
    if (this.statuses.has(status)) this.statuses.delete(status);
    else this.statuses.add(status);
    this.apply();
  }

  /** Show these statuses alone, and go there. */
  show(statuses) {
    this.statuses = new Set(statuses);
    this.search.value = "";
    this.apply();
    this.table.scrollIntoView();
  }

  apply() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const group of this.groups) {
      const ofStatus = !this.statuses.size || group.entries.some(({ test }) => this.statuses.has(test.status));
      const visible = ofStatus && words.every((word) => group.text.includes(word));
      group.row.hidden = !visible;
      if (group.detail) group.detail.hidden = !visible;
      shown += visible ? 1 : 0;
    }
    for (const [status, button] of this.buttons) button.setAttribute("aria-pressed", String(this.statuses.has(status)));
    const many = this.groups.length;
    this.shown.textContent = shown === many ? counted(many, "test") : `${count(shown)} of ${counted(many, "test")}`;
  }

  toggleRow(group, arch) {
    if (group.detail) this.close(group);
    else this.openRow(group, arch);
  }

  close(group) {
    closeCharts(group.detail);
    group.detail.remove();
    group.detail = null;
    group.button.setAttribute("aria-expanded", "false");
  }

  openRow(group, arch) {
    const content = detail(group, this.documents, arch);
    group.detail = el("tr", { class: "detail-row", id: `detail-${group.number}` }, el("td", { colspan: this.columns.length }, content));
    group.row.after(group.detail);
    group.button.setAttribute("aria-expanded", "true");
    history.replaceState(null, "", `#${encodeURIComponent(group.worst.anchor)}`);
  }

  /** Open the test of an anchor and go there; return whether there is one. */
  open(anchor) {
    const group = this.groups.find((one) => one.entries.some((entry) => entry.anchor === anchor || entry.test.id === anchor));
    if (!group) return false;
    const entry = group.entries.find((one) => one.anchor === anchor) ?? group.worst;
    if (group.row.hidden) this.show([]);
    if (group.detail) this.close(group);
    this.openRow(group, entry.test.arch);
    group.row.scrollIntoView();
    group.button.focus({ preventScroll: true });
    return true;
  }
}
