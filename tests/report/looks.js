// What a person could not read on a page. A test evaluates this file, then calls the functions.

/** Where texts can be seen: clipped by what scrolls, without those that nobody sees. */
function seenTexts() {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || /^(SCRIPT|STYLE|TITLE|DESC)$/i.test(parent.tagName)) continue;
    if (!parent.checkVisibility() || parent.closest(".skip, .hidden, noscript")) continue;
    let clip = { left: 0, top: -1e9, right: innerWidth, bottom: 1e9 };
    for (let at = parent; at && at !== document.body; at = at.parentElement) {
      if (getComputedStyle(at).overflow === "visible" || at.tagName === "svg") continue;
      clip = common(clip, at.getBoundingClientRect());
    }
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      const seen = common(box, clip);
      if (seen.right - seen.left > 1 && seen.bottom - seen.top > 1) texts.push({ ...seen, node });
    }
  }
  return texts;
}

function common(one, other) {
  return {
    left: Math.max(one.left, other.left),
    top: Math.max(one.top, other.top),
    right: Math.min(one.right, other.right),
    bottom: Math.min(one.bottom, other.bottom),
  };
}

/** Texts that lie on each other. A box is as high as a line; letters fill the middle of it. */
function overlaps() {
  const texts = seenTexts().map((one) => {
    const room = (one.bottom - one.top) / 4;
    return { ...one, top: one.top + room, bottom: one.bottom - room };
  });
  const found = [];
  texts.forEach((one, at) => texts.slice(at + 1).forEach((other) => {
    const both = common(one, other);
    if (one.node === other.node || both.right - both.left <= 1 || both.bottom - both.top <= 1) return;
    found.push(`${one.node.data.trim()} | ${other.node.data.trim()}`);
  }));
  return found;
}

/** A colour as red, green, blue and opacity. */
function parsed(colour) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data];
}

/** Contrast as WCAG defines it. */
function contrast(one, other) {
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

function behind(node) {
  for (let at = node; at; at = at.parentElement) {
    const colour = parsed(getComputedStyle(at).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255];
}

/** What SVG paints with too little contrast, which axe does not look at: texts, and lines that mean something. */
function faint() {
  const wanted = [
    ["svg text", "fill", 4.5],
    ["svg polyline, svg path, svg .limit, svg .break, svg .bounds", "stroke", 3],
    ["svg circle", "fill", 3],
  ];
  const found = [];
  for (const [selector, paint, least] of wanted) {
    for (const node of document.querySelectorAll(selector)) {
      const ratio = contrast(parsed(getComputedStyle(node)[paint]), behind(node));
      if (node.checkVisibility() && ratio < least) found.push(`${ratio}: ${node.outerHTML}`);
    }
  }
  return found;
}
