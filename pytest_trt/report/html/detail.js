// One test, opened: its results on each architecture, then one of them in full.

function detail(group, documents, arch) {
  const place = el("div", {});
  const show = (entry) => {
    closeCharts(place);
    place.replaceChildren(...inFull(entry, documents));
  };
  const chosen = group.entries.find((entry) => entry.test.arch === arch) ?? group.worst;
  show(chosen);
  if (group.entries.length === 1) return el("div", { class: "detail" }, place);
  const options = group.entries.map((entry) => [entry, entry.test.arch]);
  return el("div", { class: "detail" }, sideBySide(group, documents), choice("Architecture", options, chosen, show), place);
}

function inFull(entry, documents) {
  const { test } = entry;
  const run = documents.runs[test.run];
  const several = documents.runs.length > 1 && run;
  return [
    test.failure ? el("pre", { class: "failure", tabindex: "0", role: "group", "aria-label": "Failure" }, test.failure)
      : test.reason ? el("p", { class: "reason" }, test.reason) : null,
    test.notes.length ? list(test.notes.map((note) => [codeOf(note), " ", note.message]), { class: "findings" }) : null,
    test.repeat ? el("div", { class: "repeat" }, el("h3", {}, "Repeat this test"), command(test.repeat)) : null,
    test.results.map((result) => [
      test.results.length > 1 ? el("h3", {}, `${result.model} in ${result.precision} on ${result.arch} `, chip(result.status)) : null,
      accuracySection(result.accuracy),
      taskSection(result.task_metrics || []),
      speedSection(result.speed),
      engineSection(result, documents.engines[result.engine]),
    ]),
    proofs(test.selftest),
    facts([
      ["test", el("code", {}, test.id)],
      ["at", test.line ? el("code", {}, `${test.file}:${test.line}`) : test.file],
      ["model", el("code", {}, test.model)],
      ["checks", test.checks.join(", ")],
      ["took", seconds(test.duration_s)],
      ["run", several ? `${test.run + 1}, ${day(run.started)}` : null],
    ]),
  ].flat(Infinity).filter(Boolean);
}

/** Architectures side by side, a line for each figure that one of them has. */
function sideBySide(group, documents) {
  const lines = [];
  const add = (label, of) => {
    const cells = group.entries.map((entry) => of(entry));
    if (cells.some((cell) => cell !== null && cell !== undefined)) lines.push([label, ...cells.map((cell) => cell ?? "-")]);
  };
  const speedOf = ({ test }) => test.results.find((result) => result.speed)?.speed;
  const engineOf = ({ test }) => documents.engines[test.results[0]?.engine];
  add("status", (entry) => chip(entry.test.status));
  add("toolchain", (entry) => engineOf(entry)?.toolchain);
  add("tolerance used", (entry) => (entry.used === null ? null : meter(entry.used)));
  for (const metric of Object.keys(METRICS)) {
    add(METRICS[metric], (entry) => {
      const speed = speedOf(entry);
      const value = speed ? figureOf(speed.candidate, metric) : null;
      const one = speed?.changes.find((other) => other.metric === metric && other.change !== null);
      return value === null ? null : `${figure(metric, value)}${one ? ` (${change(one.change)})` : ""}`;
    });
  }
  add("plan", (entry) => (engineOf(entry)?.size_bytes ? size(engineOf(entry).size_bytes) : null));
  add("device memory", (entry) => (engineOf(entry)?.device_memory_bytes ? size(engineOf(entry).device_memory_bytes) : null));
  add("layers", (entry) => engineOf(entry)?.layers);
  return grid(["", ...group.entries.map((entry) => entry.test.arch)], lines, { class: "grid beside" });
}

function proofs(found) {
  if (!found?.length) return null;
  const rows = found.map((one) => [
    one.check,
    one.injected,
    one.must_fail ? "must fail" : "must pass",
    chip(one.must_fail === one.failed ? "passed" : "failed", one.failed ? "failed" : "passed"),
    one.why,
  ]);
  return el("section", { class: "part" }, el("h3", {}, "Self-test"), grid(["check", "injected", "expected", "result", "reason"], rows));
}
