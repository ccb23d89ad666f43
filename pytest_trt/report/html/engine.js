// What is known of an engine.

function shareList(shares) {
  if (!shares) return null;
  return Object.entries(shares).map(([name, pct]) => `${name} ${Number(pct.toPrecision(3))}%`).join(", ");
}

/** Of an imported profile, the layers that take the most time. */
function layerTimes(layers) {
  if (!layers.length) return null;
  const slowest = [...layers].sort((one, other) => other.share - one.share).slice(0, 50);
  const rows = slowest.map((one) => [one.name, figure("p50", one.average_ms), `${(100 * one.share).toFixed(1)}%`]);
  return folded(`time of ${counted(layers.length, "layer", "layers")}`, grid(["layer", "mean", "share"], rows));
}

function engineSection(result, engine) {
  const built = result.cached ? "from the cache" : `built now${result.why_built ? `: ${result.why_built}` : ""}`;
  const known = engine ?? {};
  return el(
    "section",
    { class: "part" },
    el("h3", {}, "Engine"),
    facts([
      ["model", result.model],
      ["precision", [result.precision, known.route].filter(Boolean).join(", ")],
      ["target", known.target ?? result.arch],
      ["built by", known.toolchain],
      ["build", result.build_s === null ? null : `${built} (${seconds(result.build_s)})`],
      ["finished plan", known.plan || null],
      ["plan digest", known.plan_digest ? el("code", {}, known.plan_digest.slice(0, 12)) : null],
      ["plan", known.size_bytes ? size(known.size_bytes) : null],
      ["device memory", known.device_memory_bytes === null || known.device_memory_bytes === undefined ? null : size(known.device_memory_bytes)],
      ["layers", known.layers],
      ["layers by precision", shareList(known.layers_pct)],
      ["weights by precision", shareList(known.weights_pct)],
      ["load", known.load_s === null || known.load_s === undefined ? null : seconds(known.load_s)],
      ["first inference", known.first_inference_s === null || known.first_inference_s === undefined ? null : seconds(known.first_inference_s)],
      ["threads", known.threads || null],
      ["runs here", known.runs_here === false ? "no" : null],
      ["model digest", known.model_digest ? el("code", {}, known.model_digest.slice(0, 12)) : null],
      ["engine key", el("code", {}, result.engine.slice(0, 12))],
    ]),
    layerTimes(known.layer_times ?? []),
    known.warnings?.length ? list(known.warnings.map((one) => [codeOf(one), " ", one.message]), { class: "findings" }) : null,
    known.notes?.length ? folded(counted(known.notes.length, "note of the build", "notes of the build"), list(known.notes)) : null,
  );
}
