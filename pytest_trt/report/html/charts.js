// Charts by uPlot: drawn when they come into the page, and again in other colours or sizes.

function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: named("muted"),
    line: named("line"),
    now: named("now"),
    baseline: named("baseline"),
    good: named("good"),
    bad: named("bad"),
  };
}

/**
 * A place that holds a chart.
 * @param make Colours to uPlot's options (without a size) and data.
 */
function chart(label, make) {
  const holder = el("div", { class: "chart", role: "img", "aria-label": label });
  let plot = null;
  const height = () => (holder.clientWidth < 500 ? 180 : 220);
  holder.redraw = () => {
    holder.close();
    const { options, data } = make(colours());
    plot = new uPlot({ ...options, width: holder.clientWidth, height: height() }, data, holder);
  };
  holder.close = () => {
    if (plot) plot.destroy();
    plot = null;
  };
  new ResizeObserver(() => {
    if (!holder.clientWidth) return;
    if (plot) plot.setSize({ width: holder.clientWidth, height: height() });
    else holder.redraw();
  }).observe(holder);
  return holder;
}

function redrawCharts() {
  for (const holder of document.querySelectorAll(".chart")) holder.redraw();
}

function closeCharts(node) {
  for (const holder of node.querySelectorAll(".chart")) holder.close();
}

const FONT = "12px system-ui, sans-serif";

function axis(colour, label, more = {}) {
  return {
    label,
    labelSize: 18,
    labelFont: FONT,
    font: FONT,
    labelGap: 0,
    stroke: colour.text,
    grid: { stroke: colour.line, width: 1 },
    ticks: { stroke: colour.line, width: 1, size: 4 },
    values: (_, splits) => splits.map(tickText),
    ...more,
  };
}

/** uPlot's own text has three decimals: 0.0625 ms would read 0.063. */
function tickText(value) {
  return value === null ? "" : value.toLocaleString("en-US", { maximumFractionDigits: 7 });
}

/** How wide the labels of a vertical axis are. */
function labelWidth(plot, values) {
  const longest = Math.max(0, ...(values ?? []).map((text) => String(text ?? "").length));
  return 14 + longest * 7;
}

/** Each round of a side that has a figure. */
function finite(rounds, metric) {
  return (rounds[metric] ?? []).map(number).filter(Number.isFinite);
}

/** What both charts of a metric show. */
function roundsFocus(speed, metric) {
  return focus(finite(speed.baseline_rounds, metric), finite(speed.candidate_rounds, metric));
}

/** Each round in the order in which it was taken. */
function roundsChart(speed, metric) {
  const now = (speed.candidate_rounds[metric] ?? []).map(number);
  const baseline = (speed.baseline_rounds[metric] ?? []).map(number);
  const { low, high, outside } = roundsFocus(speed, metric);
  const scales = { x: { time: false } };
  if (outside.length) scales.y = { range: () => uPlot.rangeNum(low, high, 0.1, true) };
  const length = Math.max(now.length, baseline.length);
  const filled = (values) => Array.from({ length }, (_, at) => values[at] ?? null);
  const data = [filled([]).map((_, at) => at + 1), filled(baseline), filled(now)];
  const text = (_, value) => (value === null || value === undefined ? "" : figure(metric, value));
  return chart(`${METRICS[metric]} of each round, baseline and now`, (colour) => ({
    data,
    options: {
      scales,
      axes: [
        axis(colour, "round", { size: 26 }),
        axis(colour, metric === "throughput" ? "per second" : "ms", { size: labelWidth }),
      ],
      series: [
        { label: "round", value: (_, value) => (value === null ? "" : String(value)) },
        line("baseline", colour.baseline, length, text),
        line("now", colour.now, length, text),
      ],
    },
  }));
}

function line(label, stroke, length, value) {
  return { label, stroke, width: 1.5, value, points: { show: length <= 120, size: 4, fill: stroke } };
}

/** How the rounds are spread. */
function distributionChart(speed, metric) {
  const now = finite(speed.candidate_rounds, metric);
  const baseline = finite(speed.baseline_rounds, metric);
  const { low, high } = roundsFocus(speed, metric);
  const shown = (values) => values.filter((value) => value >= low && value <= high);
  const edges = binEdges(shown([...now, ...baseline]));
  const data = [edges, ...[baseline, now].map((values) => shares(shown(values), values.length, edges))];
  const bin = (value) => {
    const at = edges.indexOf(value);
    if (at < 0) return "";
    return `${figure(metric, edges[at])} to ${figure(metric, edges[at + 1] ?? edges[at])}`;
  };
  const text = (_, value) => (value === null || value === undefined ? "" : `${value.toFixed(1)}%`);
  const paths = uPlot.paths.stepped({ align: 1 });
  const area = (label, colour) => ({
    label,
    stroke: colour,
    fill: `color-mix(in srgb, ${colour} 22%, transparent)`,
    width: 1.5,
    paths,
    points: { show: false },
    value: text,
  });
  return chart(`How ${METRICS[metric]} of the rounds is spread, baseline and now`, (colour) => ({
    data,
    options: {
      scales: { x: { time: false }, y: { range: (_, __, most) => [0, (most || 1) * 1.08] } },
      axes: [
        axis(colour, metric === "throughput" ? "per second" : "ms", { size: 26 }),
        axis(colour, "% of rounds", { size: labelWidth }),
      ],
      series: [
        { label: METRICS[metric], value: (_, value) => (value === null ? "" : bin(value)) },
        area("baseline", colour.baseline),
        area("now", colour.now),
      ],
    },
  }));
}

/** Ends of bins of equal width, by the rule of Freedman and Diaconis, from 10 to 60 of them. */
function binEdges(values) {
  const sorted = [...values].sort((a, b) => a - b);
  if (!sorted.length) return [0, 1];
  const at = (quantile) => sorted[Math.round(quantile * (sorted.length - 1))];
  const [low, high] = [at(0), at(1)];
  const range = high - low || Math.abs(low) * 0.01 || 1;
  const width = (2 * (at(0.75) - at(0.25))) / Math.cbrt(sorted.length) || range / 20;
  const bins = Math.min(60, Math.max(10, Math.ceil(range / width)));
  return Array.from({ length: bins + 1 }, (_, bin) => low + (range * bin) / bins);
}

/** The share that each bin has of so many values, in percent; the last entry closes the last bin. */
function shares(values, all, edges) {
  const bins = edges.length - 1;
  const found = new Array(bins + 1).fill(all ? 0 : null);
  const width = edges[1] - edges[0];
  for (const value of values) {
    found[Math.min(bins - 1, Math.floor((value - edges[0]) / width))] += 100 / all;
  }
  found[bins] = found[bins - 1];
  return found;
}

/** The bin that ends exactly at the tolerance: 0 is no error, then 2^-10, 2^-9, ... */
const TOLERANCE_BIN = 11;

function binText(bin, last) {
  if (bin === 0) return "no error";
  if (bin === last) return `more than ${count(2 ** (bin - 1 - TOLERANCE_BIN))}\u00d7 the tolerance`;
  const end = 2 ** (bin - TOLERANCE_BIN);
  return `up to ${end <= 1 ? percent(end) : `${end}\u00d7`} of the tolerance`;
}

/** How many elements used which share of the tolerance. */
function errorChart(output) {
  const bins = output.histogram;
  const last = bins.length - 1;
  const of = (keep) => bins.map((many, bin) => (many && keep(bin) ? many : null));
  const data = [bins.map((_, bin) => bin), of((bin) => bin <= TOLERANCE_BIN), of((bin) => bin > TOLERANCE_BIN)];
  const paths = uPlot.paths.bars({ size: [0.85] });
  const text = (_, value) => (value === null || value === undefined ? "" : count(value));
  const bars = (label, colour) => ({ label, stroke: colour, fill: colour, width: 0, paths, points: { show: false }, value: text });
  const ends = { 0: "0", 2: "0.2%", 5: "1.6%", 8: "13%", 11: "100%", 14: "8\u00d7", 18: "128\u00d7", 21: "1024\u00d7" };
  const most = Math.max(...bins);
  return chart(`Histogram of the error of ${output.name}`, (colour) => ({
    data,
    options: {
      scales: {
        x: { time: false, range: [-0.7, last + 0.7] },
        // Between one element and a million only logarithms show both.
        y: { distr: 3, range: [0.5, Math.max(20, most * 2.5)] },
      },
      axes: [
        axis(colour, "share of the tolerance", {
          splits: () => Object.keys(ends).map(Number),
          values: (plot, splits) => splits.map((bin) => (plot.width < 500 && bin % 11 !== 0 ? "" : ends[bin])),
          grid: { show: false },
          size: 26,
        }),
        axis(colour, "elements", {
          size: labelWidth,
          splits: () => Array.from({ length: Math.ceil(Math.log10(most + 1)) + 1 }, (_, at) => 10 ** at),
          values: (_, splits) => splits.map(short),
        }),
      ],
      series: [
        { label: "elements with", value: (_, value) => (value === null ? "" : binText(value, last)) },
        bars("within", colour.good),
        bars("beyond", colour.bad),
      ],
      hooks: { draw: [(plot) => toleranceLine(plot, colour)] },
    },
  }));
}

function short(value) {
  if (value >= 1e9) return `${value / 1e9}G`;
  if (value >= 1e6) return `${value / 1e6}M`;
  return value >= 1e3 ? `${value / 1e3}k` : String(value);
}

function toleranceLine(plot, colour) {
  const x = Math.round(plot.valToPos(TOLERANCE_BIN + 0.5, "x", true));
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour.bad;
  ctx.setLineDash([6, 4]);
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.fillStyle = colour.bad;
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  ctx.fillText("tolerance", x + 5 * devicePixelRatio, bbox.top);
  ctx.restore();
}
