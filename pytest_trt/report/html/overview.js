// The top of the page: what was tested, the outcome, and what to do.

const GRAVE = ["failed", "error"];

/** Whether a test failed the run; one that should have measured and did not counts. */
function fails({ test }) {
  return GRAVE.includes(test.status) || test.outcome === "failed";
}

function headline(documents, entries) {
  const bad = entries.filter(fails).length;
  const runs = documents.runs;
  const errors = runs.reduce((sum, run) => sum + Object.keys(run.collection_errors).length, 0);
  const open = entries.filter((entry) => !fails(entry) && !["passed", "xfailed"].includes(entry.test.status)).length;
  const missing = documents.coverage?.missing.length ?? 0;
  if (!entries.length && !errors) return ["not run", "No tests with a model were collected"];
  const unset = bad && entries.filter(fails).every((entry) => entry.test.status === "error");
  if (bad) return ["failed", `${count(bad)} of ${counted(entries.length, "test")} ${unset ? "could not be set up" : "failed"}`];
  if (errors) return ["failed", `${counted(errors, "file")} could not be collected`];
  if (missing) return ["failed", `Required verdicts on ${[...new Set(documents.coverage.missing.map((one) => one.arch))].join(", ")} are missing`];
  if (runs.some((run) => run.interrupted)) return ["inconclusive", "The run was interrupted"];
  if (runs.some((run) => run.exit_status)) return ["failed", "The run failed"];
  if (open) return ["inconclusive", `No test failed, ${count(open)} of ${count(entries.length)} without a verdict`];
  return ["passed", entries.length === 1 ? "The test passed" : `All ${count(entries.length)} tests passed`];
}

function overview(documents, entries, open, filter) {
  const runs = el("div", { class: "runs" }, documents.runs.map((run, at) => runCard(run, at, documents.runs.length)));
  // Reasons come first; the environment is needed later.
  const failed = entries.some(fails) || Boolean(documents.coverage?.missing.length);
  return [
    documents.runs.map((run) => banner(run)),
    failed ? null : runs,
    // Missing verdicts fail the run, so they come before the results.
    documents.coverage?.missing.length ? ledger(documents.coverage, open) : null,
    news(documents, entries, open, filter),
    documents.coverage?.missing.length ? null : ledger(documents.coverage, open),
    failed ? runs : null,
  ].flat(Infinity).filter(Boolean);
}

/** Files that could not be collected of which the details are open. */
const OPENED = 3;

function banner(run) {
  const errors = Object.entries(run.collection_errors);
  return [
    run.interrupted ? el("p", { class: "banner" }, el("strong", {}, "Interrupted. "), `The run ended before every test had run${run.stopped ? `: ${run.stopped}` : ""}.`) : null,
    errors.length ? el("div", { class: "banner", "data-status": "failed" }, el("strong", {}, `${counted(errors.length, "file")} could not be collected; the report lacks ${errors.length === 1 ? "its" : "their"} tests.`),
      errors.map(([file, why], at) => el("details", { open: at < OPENED }, el("summary", {}, file), el("pre", {}, why)))) : null,
    run.skipped_model_files?.length ? el("div", { class: "banner" }, el("strong", {}, `${counted(run.skipped_model_files.length, "file")} of tests skipped as a whole`),
      el("ul", {}, run.skipped_model_files.map((file) => el("li", {}, `${file}: ${run.skipped_files[file]}`)))) : null,
    run.diagnostics.map((one) => el("div", { class: "banner", "data-status": one.severity === "error" ? "failed" : "inconclusive" },
      el("strong", {}, one.message), el("ul", {}, one.details.map((line) => el("li", {}, line))), remedy(one.remedy))),
  ];
}

function runCard(run, at, many) {
  const { versions } = run;
  const targets = run.targets.length ? run.targets : [null];
  return el(
    "article",
    { class: "run" },
    targets.map((target) => target
      ? [
          el("h2", {}, target.gpu ? target.gpu.name : target.target, el("small", {}, ` ${target.arch}${target.gpu?.mig ? ", a MIG slice" : ""}`)),
          el("p", { class: "with" }, [target.toolchain, target.gpu ? `driver ${target.gpu.driver}` : "", target.gpu ? size(target.gpu.memory_bytes) : ""].filter(Boolean).join(" \u00b7 ")),
        ]
      : el("h2", {}, "Nothing was tested")),
    facts([
      ["run", many > 1 ? String(at + 1) : null],
      ["started", day(run.started)],
      ["took", seconds(run.duration_s)],
      ["commit", run.commit ? el("code", { title: run.commit }, run.commit.slice(0, 12)) : null],
      ["pytest-trt", versions["pytest-trt"]],
      ["Python", versions.python],
      ["exit status", String(run.exit_status)],
    ]),
    folded("Versions, options, machine", facts([
      ...Object.entries(versions),
      ...Object.entries(run.machine_facts),
      ...run.targets.flatMap((target) => [...Object.entries(target.toolchain_versions), ["this target", target.why]]),
      ["platform", run.platform],
      ...Object.entries(run.options).map(([name, value]) => [name, el("code", {}, value)]),
    ])),
  );
}

/** The most tests that are named in one place; a filter shows the rest. */
const NAMED = 8;

function news(documents, entries, open, filter) {
  const speeds = entries.flatMap((entry) => entry.test.results.filter((result) => result.speed).map((result) => ({ entry, speed: result.speed })));
  const grouped = new Set(documents.groups.flatMap((group) => group.tests.map((place) => entries[place])));
  const ungrouped = entries.filter((entry) => !grouped.has(entry));
  const first = [...new Set(speeds.filter(({ speed }) => ["first", "replaced"].includes(speed.baseline_update)).map(({ entry }) => entry))];
  const unmeasured = ungrouped.filter((entry) => entry.test.unmeasured);
  const other = ungrouped.filter((entry) => GRAVE.includes(entry.test.status) && !entry.test.unmeasured);
  const inconclusive = entries.filter((entry) => entry.test.status === "inconclusive");
  const parts = [
    ...documents.groups.map((group) => groupCard(group, entries, open)),
    named("Failed otherwise", "error", other, (entry) => entry.test.reason, open, filter),
    named("Failed without a measurement", "failed", unmeasured, (entry) => entry.speed?.why || entry.test.reason, open, filter),
    named("Inconclusive", "inconclusive", inconclusive, (entry) => entry.change ? `${METRICS[entry.change.metric]} ${change(entry.change.change)}` : "", open, filter),
    named("New baselines", "not measured", first, () => "", open, filter),
    differences(speeds, open),
  ].filter(Boolean);
  if (!parts.length) return null;
  return el("section", { class: "news" }, el("h2", {}, "What stands out"), el("div", { class: "cards" }, parts));
}

/** The most tests that a group names at once. */
const NAMED_OF_GROUP = 3;

/** Failures with one reason: what it is, what to do, and their tests, the worst first. */
function groupCard(group, entries, open) {
  const links = group.tests.map((place) => link(entries[place], open));
  const more = links.slice(NAMED_OF_GROUP);
  return el(
    "div",
    { class: "card group", "data-status": "failed" },
    el("h3", {}, counted(links.length, "test"), " ", codeOf(group)),
    el("p", { class: "fact" }, group.message),
    remedy(group.remedy),
    list(links.slice(0, NAMED_OF_GROUP)),
    more.length ? folded(`${count(more.length)} more`, list(more)) : null,
  );
}

function named(title, status, entries, reason, open, filter) {
  if (!entries.length) return null;
  const several = entries.length > NAMED;
  const lines = entries.slice(0, NAMED).map((entry) => [link(entry, open), " ", el("span", { class: "muted" }, reason(entry))]);
  return el(
    "div",
    { class: "card", "data-status": status },
    el("h3", {}, title, el("span", { class: "many" }, count(entries.length))),
    list(lines),
    several ? el("button", { type: "button", class: "more", onclick: () => filter([...new Set(entries.map((entry) => entry.test.status))]) }, `All ${count(entries.length)} in the table`) : null,
  );
}

function link(entry, open) {
  return el("a", { href: `#${encodeURIComponent(entry.anchor)}`, onclick: (event) => { event.preventDefault(); open(entry.anchor); } }, entry.short);
}

/** Differences from when baselines were recorded, one line for all tests that share them. */
function differences(speeds, open) {
  const found = new Map();
  for (const { entry, speed } of speeds) {
    for (const line of speed.differences ?? []) found.set(line, [...(found.get(line) ?? []), entry]);
  }
  if (!found.size) return null;
  const common = [...found].sort(([, a], [, b]) => b.length - a.length);
  const lines = common.map(([text, of]) => [text, " ", of.length === 1 ? link(of[0], open) : el("span", { class: "muted" }, counted(of.length, "test"))]);
  return el("div", { class: "card" }, el("h3", {}, "Differs from when baselines were recorded"), list(lines.slice(0, NAMED)),
    lines.length > NAMED ? folded(`${count(lines.length - NAMED)} more`, list(lines.slice(NAMED))) : null);
}

function ledger(coverage, open) {
  if (!coverage) return null;
  const missing = coverage.missing;
  const rows = missing.map((one) => [el("code", {}, one.test), one.arch, one.status ?? "not tested", one.reason]);
  return el(
    "section",
    { class: "ledger" },
    el("h2", {}, "Required verdicts ", outcome(missing.length ? "failed" : "passed")),
    el("p", {}, `${counted(coverage.tests, "test")} must reach a verdict on ${coverage.required.join(", ")}: ${missing.length ? `${count(missing.length)} of ${count(coverage.tests * coverage.required.length)} did not` : "all did"}.`),
    coverage.diagnostic ? remedy(coverage.diagnostic.remedy) : null,
    missing.length ? el("details", { open: missing.length <= 10 }, el("summary", {}, `${counted(missing.length, "verdict")} missing`), grid(["test", "architecture", "status", "reason"], rows)) : null,
  );
}
