// The words of this documentation: names as their owners write them, and words of the field in
// place of others. An entry with two parts has a regular expression and what to write.
const terms = [
  "CUDA",
  "GitHub",
  "GitLab",
  "JSON",
  "NumPy",
  "NVIDIA",
  "ONNX",
  "Polygraphy",
  "pytest",
  "Python",
  "PyTorch",
  "TensorRT",
  ["onnx[- ]?runtime", "ONNX Runtime"],

  // Of data, messages and figures.
  ["told|tells|said|says", "reports, shows, states"],
  ["kept", "stored, cached, left"],
  ["gone", "missing, removed"],
  ["(takes?|took|in) turns", "interleaved"],
  ["surely", "with confidence"],
  ["doubt(?:s|ed)?", "uncertain, inconclusive"],
  ["mend(?:s|ed)?", "fix"],
  ["anew", "again, rebuilt"],
  ["(?:is|was|are) another one", "differs, changed"],
  ["knows? no", "does not support"],
  ["(?:is|are) no whole", "is not a valid"],
  ["busy hosts?", "overloaded host"],

  // Longer or vaguer than they have to be.
  ["e\\.g\\.", "such as"],
  ["i\\.e\\.", "that is"],
  ["etc\\.", "and so on"],
  ["via", "by, through, with"],
  ["in order to", "to"],
  ["utili[sz](?:e|es|ed|ing)", "use"],
  ["please|simply|obviously|of course", "(nothing)"],
  ["sanity checks?", "check"],
  ["whitelist(?:s|ed)?", "allowlist"],
  ["blacklist(?:s|ed)?", "blocklist"],
];

module.exports = {
  rules: { terminology: { defaultTerms: false, skip: ["BlockQuote"], terms } },
};
