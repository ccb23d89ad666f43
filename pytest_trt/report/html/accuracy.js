// Outputs against their reference.

/** How much of the tolerance is used, as a bar. */
function meter(value) {
  const used = number(value);
  const known = used !== null && !Number.isNaN(used);
  const width = known ? Math.min(1, Math.max(used, 0)) * 100 : 0;
  return el(
    "span",
    { class: "meter", "data-beyond": known && used > 1 },
    el("span", { class: "track", "aria-hidden": "true" }, el("span", { class: "fill", style: `width:${width}%` })),
    el("span", { class: "value" }, share(value)),
  );
}

function accuracySection(accuracy) {
  if (!accuracy) return null;
  const compared = `${counted(accuracy.runs, "run")} compared with the reference`;
  return el(
    "section",
    { class: "part" },
    el("h3", {}, "Accuracy ", outcome(accuracy.verdict), el("small", {}, compared)),
    accuracy.findings.length ? list(accuracy.findings.map((one) => one.text), { class: "findings" }) : null,
    metricsPart(accuracy.metrics || []),
    invariantsPart(accuracy.invariants || []),
    accuracy.outputs.map((output) => outputPart(output)),
  );
}

/** Metrics of whole outputs, each at its worst run. */
function metricsPart(metrics) {
  if (!metrics.length) return null;
  return grid(["metric", "output", "value", "required", "runs outside"], metrics.map((one) => [
    one.name,
    one.output || "all",
    one.value === null ? one.problem : `${digits(one.value)} ${one.unit}`,
    `${one.comparison} ${digits(one.bound)} ${one.unit}`,
    `${count(one.failed_runs)} of ${count(one.runs)}`,
  ]));
}

/** What has to hold whatever the reference is. */
function invariantsPart(invariants) {
  if (!invariants.length) return null;
  return grid(["invariant", "", "further runs", "tolerance used", "by", "not tried"], invariants.map((one) => [
    one.name,
    outcome(one.verdict),
    count(one.runs),
    one.used === null ? "" : share(one.used),
    one.worst,
    one.restriction,
  ]));
}

/** What the test recorded of its task, against the stored baseline. */
function taskSection(metrics) {
  if (!metrics.length) return null;
  return el(
    "section",
    { class: "part" },
    el("h3", {}, "Task metrics"),
    grid(["metric", "now", "baseline", "worse by", "allowed", ""], metrics.map((one) => [
      one.name,
      digits(one.value),
      one.stored === null ? "" : digits(one.stored),
      one.decline === null ? "" : digits(one.decline),
      one.limit,
      outcome(one.update === "first" ? "recorded" : one.verdict),
    ])),
  );
}

function outputPart(output) {
  const tolerance = output.tolerance;
  const allowed = `rtol ${digits(tolerance.rtol)}, atol ${digits(tolerance.atol)}`;
  const required = tolerance.topk ? `required: at least ${percent(tolerance.topk[1])} of the top ${tolerance.topk[0]}` : "";
  const compared = `${count(output.mismatched)} of ${counted(output.compared, "element")}`;
  return el(
    "div",
    { class: "output" },
    el("h4", {}, el("code", {}, output.name), el("small", {}, ` ${output.dtype}[${output.shape.join(", ")}]`), meter(output.used)),
    output.findings.length ? list(output.findings.map((one) => one.text), { class: "findings" }) : null,
    el(
      "div",
      { class: "columns" },
      el(
        "div",
        {},
        facts([
          ["allowed", tolerance.elementwise === false ? "elements are not compared" : `${allowed} (${tolerance.origin})`],
          ["beyond it", tolerance.elementwise === false ? null : !output.compared ? "no element could be compared" : output.mismatched || tolerance.max_mismatch_pct
            ? `${compared}${tolerance.max_mismatch_pct ? `, ${tolerance.max_mismatch_pct}% allowed` : ""}`
            : `none of ${counted(output.compared, "element")}`],
          ["would have passed", output.mismatched && tolerance.elementwise !== false
            ? `atol ${digits(output.needed_atol)} at this rtol, or rtol ${digits(output.needed_rtol)} at this atol` : null],
          ["cosine", agreement(output.cosine, tolerance.cosine)],
          ["top-1", agreement(output.top1, tolerance.top1)],
          ["top-k", output.topk === null ? null : `${digits(output.topk)}, ${required}`],
          ["NaN or infinite", output.nonfinite
            ? `${counted(output.nonfinite, "position")}, ${count(output.nonfinite_disagreeing)} disagreeing (${tolerance.nan})` : null],
        ]),
        worstElements(output),
      ),
      output.histogram && output.compared ? el("figure", {}, el("figcaption", {}, "Error of each element"), errorChart(output), errorTable(output)) : null,
    ),
  );
}

/** How many elements have which error, for those to whom a chart shows nothing. */
function errorTable(output) {
  const last = output.histogram.length - 1;
  return asTable(`Errors of ${output.name} as a table`, ["error", "elements"], () =>
    output.histogram.map((many, bin) => [binText(bin, last), count(many), many]).filter(([, , many]) => many).map(([text, many]) => [text, many]));
}

function agreement(value, least) {
  if (value === null || value === undefined) return null;
  return `${digits(value)}${least === null ? "" : `, required: at least ${digits(least)}`}`;
}

function worstElements(output) {
  const kinds = { worst_used: "of the tolerance", worst_abs: "absolute", worst_rel: "relative" };
  const found = Object.entries(kinds).filter(([name]) => output[name]);
  if (!found.length) return null;
  return grid(["worst", "by", "at", "now", "reference"], found.map(([name, text]) => {
    const one = output[name];
    const by = name === "worst_used" ? share(one.value) : digits(one.value);
    return [text, by, `[${one.index.join(", ")}]`, scalar(one.actual), scalar(one.reference)];
  }));
}
