// Formats quantities like pytest_trt/units.py.

/** What each status looks like. In the order of their gravity. */
const STATUSES = {
  failed: "\u2715",
  error: "!",
  inconclusive: "?",
  "not measured": "\u2013",
  recorded: "+",
  "not run": "\u2026",
  skipped: "\u21b7",
  deselected: "\u25cb",
  xfailed: "\u2713\u0338",
  passed: "\u2713",
};
const GRAVITY = Object.keys(STATUSES);

const METRICS = { p50: "P50", p95: "P95", p99: "P99", throughput: "throughput" };

function chip(status, text = status) {
  const mark = el("span", { class: "mark", "aria-hidden": "true" }, STATUSES[status] ?? "?");
  return el("span", { class: "chip", "data-status": status }, mark, text);
}

/** The outcome of a check or limit, in the colours of statuses. */
function outcome(word) {
  const status = { regressed: "failed", "not comparable": "not measured" };
  return chip(status[word] ?? word, word);
}

/** JSON has no numbers for these: the document has them as text. */
function number(value) {
  return { nan: NaN, inf: Infinity, "-inf": -Infinity }[value] ?? value ?? null;
}

function percent(value) {
  return `${Number((value * 100).toPrecision(3))}%`;
}

/** A share of the tolerance: "0.4%", "38%", and in multiples beyond it: "15x". */
function share(value) {
  const used = number(value);
  if (used === null || Number.isNaN(used)) return "-";
  if (used === Infinity) return "\u221e";
  if (used > 1) return `${used < 9.95 ? used.toFixed(2) : count(Math.round(used))}\u00d7`;
  if (used > 0 && used < 0.001) return "<0.1%";
  return `${(used * 100).toFixed(used > 0 && used < 0.0995 ? 1 : 0)}%`;
}

function change(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "?";
  const text = (Math.abs(value) * 100).toFixed(Math.abs(value) < 0.0995 ? 1 : 0);
  return `${value < 0 ? "\u2212" : "+"}${text}%`;
}

/** The bounds of a change, lowest first: "+3.5% to +15%". */
function bounds({ least, most }) {
  if (least === null || least === undefined) return "";
  if (most === null || most === undefined) return `from ${change(least)}`;
  return `${change(Math.min(least, most))} to ${change(Math.max(least, most))}`;
}

function threeDigits(value) {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 99.95) return count(Math.round(value));
  return value === 0 ? "0" : value.toPrecision(3);
}

function latency(value) {
  return `${threeDigits(number(value))} ms`;
}

/** A metric's figure with its unit. */
function figure(metric, value) {
  const known = number(value);
  if (known === null) return "-";
  return metric === "throughput" ? `${threeDigits(known)}/s` : latency(known);
}

/** A metric's figure among those of a measurement. */
function figureOf(figures, metric) {
  return figures[metric === "throughput" ? "throughput_qps" : `${metric}_ms`] ?? null;
}

function size(bytes) {
  let value = bytes;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 999.5 || unit === "GB") {
      return `${value.toFixed(unit !== "B" && value < 9.95 ? 1 : 0)} ${unit}`;
    }
    value /= 1000;
  }
  return "";
}

function seconds(value) {
  if (value > 0 && value < 0.00995) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 0.9995) return `${(value * 1000).toFixed(0)} ms`;
  if (value < 99.5) return `${value.toFixed(1)} s`;
  return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}

function count(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

function counted(many, one, several = `${one}s`) {
  return `${count(many)} ${many === 1 ? one : several}`;
}

/** One element of a tensor. */
function scalar(value) {
  if (value !== null && typeof value === "object") {
    return "complex" in value ? value.complex.map(scalar).join(" + ") + "i" : String(value.float);
  }
  return typeof value === "number" ? digits(value) : String(value);
}

/** Up to six digits. */
function digits(value) {
  const known = number(value);
  return typeof known === "number" ? String(Number(known.toPrecision(6))) : String(known);
}

function day(text) {
  return text ? `${text.slice(0, 10)} ${text.slice(11, 16)}${/(\+00:00|Z)$/.test(text) ? " UTC" : ""}` : "";
}
