// A round that was disturbed would flatten all others: charts leave it out and report that.

/** How many interquartile ranges beyond a quartile a round is still drawn. */
const FENCE = 8;
/** More than this share of a series are no exceptions: all of it is drawn. */
const FEW = 0.1;

/** From where to where the rounds of one series lie, but for a few far ones. */
function ordinary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (quantile) => sorted[Math.round(quantile * (sorted.length - 1))];
  const reach = FENCE * (at(0.75) - at(0.25));
  const usual = sorted.filter((value) => value >= at(0.25) - reach && value <= at(0.75) + reach);
  return reach > 0 && usual.length >= sorted.length * (1 - FEW) ? usual : sorted;
}

/**
 * What charts of these series show.
 * @returns {{low: number, high: number, outside: number[]}} Ends of the axis, and the rounds beyond them.
 */
function focus(...series) {
  const usual = series.filter((values) => values.length).flatMap(ordinary);
  const [low, high] = [Math.min(...usual), Math.max(...usual)];
  return { low, high, outside: series.flat().filter((value) => value < low || value > high).sort((a, b) => a - b) };
}

function outsideText(metric, outside) {
  if (!outside.length) return "";
  const [least, most] = [outside[0], outside[outside.length - 1]].map((value) => figure(metric, value));
  if (least === most) return `${counted(outside.length, "round")} outside the chart: ${least}`;
  return `${counted(outside.length, "round")} outside the chart: ${least} to ${most}`;
}
