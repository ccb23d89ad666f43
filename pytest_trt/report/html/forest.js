// Changes with their bounds against their limits, drawn side by side: slower is to the right.

/** How much worse, whichever way the metric counts. */
function worse(metric, value) {
  if (value === null || value === undefined) return null;
  return metric === "throughput" ? -value : value;
}

/** What a change is coloured by: one whose bounds reach both ways is neither faster nor slower. */
function tone(one) {
  if (one.outcome === "regressed") return "regressed";
  if (one.outcome === "inconclusive" || one.outcome === "not measured") return "doubtful";
  const ends = [one.least, one.most].map((value) => worse(one.metric, value));
  return ends.every((end) => end !== null && end < 0) ? "faster" : "";
}

/**
 * Return a function that draws one change on the scale that all of them share.
 */
function forest(changes) {
  const ends = changes.flatMap((one) => [
    0,
    one.limit,
    ...[one.change, one.least, one.most].map((value) => worse(one.metric, value)),
  ]).filter(Number.isFinite);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = (high - low) * 0.08 || 0.01;
  const at = (value) => `${((100 * (value - low + room)) / (high - low + 2 * room)).toFixed(2)}%`;
  return (one) => drawn(one, at);
}

function drawn(one, at) {
  const [middle, least, most] = [one.change, one.least, one.most].map((value) => worse(one.metric, value));
  const text = `${METRICS[one.metric]} ${change(one.change)} (${bounds(one)}), limit ${percent(one.limit)}`;
  const upright = (value, name) =>
    svg("line", { x1: at(value), x2: at(value), y1: 0, y2: "100%", class: name });
  return svg(
    "svg",
    { class: "forest", role: "img", "aria-label": text, "data-tone": tone(one) },
    svg("title", {}, text),
    upright(0, "none"),
    one.limit === null || one.limit === undefined ? null : upright(one.limit, "limit"),
    least === null || most === null ? null
      : svg("line", { x1: at(least), x2: at(most), y1: "50%", y2: "50%", class: "bounds" }),
    middle === null ? null : svg("circle", { cx: at(middle), cy: "50%", r: 4.5 }),
  );
}
