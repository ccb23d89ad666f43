// Speed against the baseline and against absolute limits.

function speedSection(speed) {
  if (!speed) return null;
  const judged = speed.changes.find((one) => one.step === "interleaved" && one.rounds);
  const rounds = judged?.rounds || speed.rounds;
  const how = [
    rounds && speed.calls ? `${counted(rounds, "round")} of ${counted(speed.calls, "call")}${judged ? " interleaved with the baseline engine" : ""}` : "",
    speed.mode,
    `batch ${speed.batch}`,
  ].filter(Boolean).join(", ");
  return el(
    "section",
    { class: "part" },
    el("h3", {}, "Speed ", outcome(speed.verdict === "not measured" && RECORDED.includes(speed.baseline_update) ? "recorded" : speed.verdict), el("small", {}, how)),
    speed.why ? el("p", {}, speed.why) : null,
    changesTable(speed),
    speed.changes.some((one) => one.change !== null) ? el("p", { class: "muted" }, estimateText(speed)) : null,
    reasons(speed),
    limitsTable(speed),
    speed.limits.length && speed.rounds > 1 ? el("p", { class: "muted" }, `An absolute limit holds for ${counted(speed.limits[0].total, "call")} together; baseline and now above are medians of rounds.`) : null,
    roundCharts(speed),
    sinceBaseline(speed),
  );
}

/** Why a change need not be the ratio of the two figures next to it. */
function estimateText(speed) {
  const judged = speed.changes.find((one) => one.change !== null);
  const how = judged.step === "interleaved" ? "interleaved with the baseline engine" : "against the stored ones";
  return `Changes are estimated from ${counted(judged.rounds, "round")} ${how}, over pairs of rounds: they may differ from the ratio of the medians.`;
}

function changesTable(speed) {
  const limited = new Map(speed.changes.map((one) => [one.metric, one]));
  const unlimited = new Map((speed.unlimited ?? []).map((one) => [one.metric, { ...one, limit: null, outcome: "" }]));
  const measured = Object.keys(METRICS).filter((metric) => figureOf(speed.candidate, metric) !== null || limited.has(metric));
  if (!measured.length) return null;
  const draw = forest([...unlimited.values(), ...limited.values()]);
  const rows = measured.map((metric) => {
    const one = limited.get(metric) ?? unlimited.get(metric);
    const compared = one && one.change !== null;
    return [
      METRICS[metric],
      figure(metric, figureOf(speed.baseline, metric)),
      figure(metric, figureOf(speed.candidate, metric)),
      compared ? el("strong", {}, change(one.change)) : "",
      compared ? bounds(one) : "",
      compared ? draw(one) : "",
      limited.has(metric) ? limitText(one) : el("span", { class: "muted" }, "none"),
      limited.has(metric) ? outcome(one.outcome) : "",
    ];
  });
  if (!limited.size && !unlimited.size) {
    const then = rows.some(([, baseline]) => baseline !== "-");
    return grid(["", ...(then ? ["baseline"] : []), "now"], rows.map(([name, baseline, now]) => [name, ...(then ? [baseline] : []), now]));
  }
  const direction = el("span", { class: "direction" }, el("span", {}, "\u2190 faster"), el("span", {}, "slower \u2192"));
  return grid(["", "baseline", "now", "change", "bounds", direction, "limit", ""], rows, { class: "grid changes" });
}

function limitText(one) {
  return `${one.metric === "throughput" ? "\u2212" : "+"}${percent(one.limit)}`;
}

function reasons(speed) {
  const explained = speed.changes.filter((one) => one.why || (one.outcome === "inconclusive" && one.detectable));
  if (!explained.length) return null;
  return list(explained.map((one) => {
    const least = one.outcome === "inconclusive" && one.detectable
      ? `a change of ${percent(one.detectable)} for the worse would have been detected` : "";
    return `${METRICS[one.metric]}: ${[one.why, least].filter(Boolean).join("; ")}`;
  }), { class: "findings" });
}

const STRUCTURE = {
  plan_size: ["plan, growth", size], plan_size_bytes: ["plan", size],
  device_memory: ["device memory, growth", size], device_memory_bytes: ["device memory", size],
  layers: ["layers, growth", count], max_layers: ["layers", count],
  build_s: ["build", seconds], cold_start_s: ["cold start", seconds],
};

function limitsTable(speed) {
  const metric = (name) => (name === "min_throughput" ? "throughput" : name.replace("_ms", ""));
  const rows = speed.limits.map((one) => [
    METRICS[metric(one.name)],
    figure(metric(one.name), one.measured),
    `${one.name.startsWith("min") ? "at least" : "at most"} ${figure(metric(one.name), one.limit)}`,
    one.why || `${count(one.violations)} of ${count(one.total)} beyond`,
    outcome(one.outcome),
  ]);
  for (const one of speed.speedups ?? []) {
    const times = (value) => `${digits(Number(number(value).toPrecision(3)))}x`;
    rows.push([
      `speed against ${one.opponent}`,
      `${times(one.ratio)} (${times(one.least)} to ${times(one.most)})`,
      `at least ${times(one.factor)}`,
      `${figure("p50", one.candidate_ms)} against ${figure("p50", one.opponent_ms)}; ${counted(one.rounds, "round")} of ${counted(one.calls, "call")}, interleaved, ${one.mode}; ${one.opponent} is ${one.ran}`,
      outcome(one.outcome),
    ]);
  }
  for (const one of speed.structure) {
    const [name, text] = STRUCTURE[one.name] ?? [one.name, digits];
    const grows = one.stored !== null;
    rows.push([
      name,
      one.measured === null ? "-" : text(one.measured),
      grows || ["plan_size", "device_memory", "layers"].includes(one.name) ? `+${percent(number(one.limit))} at most` : `at most ${text(number(one.limit))}`,
      one.why || (grows ? `${text(one.stored)} in the baseline` : ""),
      outcome(one.outcome),
    ]);
  }
  return rows.length ? grid(["limit on", "measured", "allowed", "details", ""], rows, { class: "grid limits" }) : null;
}

/** Which metric is looked at first: the one that is furthest beyond its limit. */
function tellingMetric(speed) {
  const changes = speed.changes.filter((one) => one.change !== null && speed.candidate_rounds[one.metric]);
  const ratio = (one) => (one.outcome === "regressed" ? 1e6 : 0) + worse(one.metric, one.change) / one.limit;
  const worst = changes.reduce((best, one) => (best && ratio(best) >= ratio(one) ? best : one), null);
  return worst?.metric ?? ["p99", "p95", "p50", "throughput"].find((metric) => speed.candidate_rounds[metric]);
}

function roundCharts(speed) {
  const metrics = Object.keys(METRICS).filter((metric) => speed.candidate_rounds[metric]?.length);
  if (!metrics.length) return null;
  const place = el("div", { class: "columns" });
  const show = (metric) => {
    closeCharts(place);
    const outside = outsideText(metric, roundsFocus(speed, metric).outside);
    const caption = (text) => el("figcaption", {}, text, outside ? el("small", {}, ` (${outside})`) : null);
    place.replaceChildren(
      el("figure", {}, caption(`${METRICS[metric]} of rounds, spread`), distributionChart(speed, metric)),
      el("figure", {}, caption(`${METRICS[metric]}, round by round`), roundsChart(speed, metric)),
    );
  };
  const first = tellingMetric(speed) ?? metrics[0];
  show(first);
  const options = metrics.map((metric) => [metric, METRICS[metric]]);
  return el("div", {}, choice("Metric of the charts", options, first, show), place, roundsTable(speed, metrics));
}

/** All rounds, for those to whom a chart shows nothing. */
function roundsTable(speed, metrics) {
  const sides = [["baseline", speed.baseline_rounds], ["now", speed.candidate_rounds]];
  const columns = metrics.flatMap((metric) => sides.map(([side, rounds]) => ({ metric, side, values: rounds[metric] ?? [] })));
  const headers = ["round", ...columns.map(({ metric, side }) => `${METRICS[metric]}, ${side}`)];
  return asTable("All rounds as a table", headers, () => Array.from(
    { length: Math.max(...columns.map(({ values }) => values.length)) },
    (_, at) => [String(at + 1), ...columns.map(({ metric, values }) => (at < values.length ? figure(metric, values[at]) : ""))],
  ));
}

function sinceBaseline(speed) {
  const lines = speed.differences ?? [];
  const layers = speed.layer_changes ?? [];
  if (!speed.baseline_file && !lines.length && !layers.length) return null;
  const stored = { first: "a first baseline", added: "added to the baseline", replaced: "replaced the baseline", calibrated: "calibrated the baseline", "not recorded": "not recorded" };
  return el(
    "div",
    { class: "columns" },
    el(
      "div",
      {},
      el("h4", {}, "Since the baseline"),
      lines.length ? list(lines) : el("p", { class: "muted" }, speed.baseline_recorded ? "Nothing else differs." : "No baseline."),
      facts([
        ["recorded", day(speed.baseline_recorded)],
        ["in", speed.baseline_file ? el("code", {}, speed.baseline_file) : null],
        ["this run", stored[speed.baseline_update]],
      ]),
    ),
    layers.length ? el("div", {}, el("h4", {}, "Layers that changed"), scrollable(el("div", { class: "layers" }, list(layers)), "Layers that changed")) : null,
  );
}
