// Looks at the page as it stands and returns what is wrong with it, as a list of
// sentences: what overflows, which text is too faint, which control has no name.
// Runs as the body of a function; sources are WCAG 2.2 (contrast 1.4.3, reflow 1.4.10,
// names 4.1.2 and 3.3.2, language 3.1.1, title 2.4.2). `arguments[0]` is the window's width.
const wrong = [];
// The window as wide as it was asked for: a page may have made it wider by now.
const windowWidth = arguments[0];

const shows = (element) => {
  if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
  const box = element.getBoundingClientRect();
  return box.width > 0 && box.height > 0;
};
const name = (element) => {
  const id = element.id ? `#${element.id}` : "";
  const words = (element.innerText || element.value || element.name || "").trim().replace(/\s+/g, " ");
  return `<${element.localName}${id}> “${words.slice(0, 40)}”`;
};

// A colour in whatever notation, as [red, green, blue, alpha], by painting it.
const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const colour = (text) => {
  paint.canvas.width = paint.canvas.height = 1;
  paint.fillStyle = text;
  paint.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = paint.getImageData(0, 0, 1, 1).data;
  return [red, green, blue, alpha / 255];
};
const over = (front, back, opacity = 1) => {
  const alpha = front[3] * opacity;
  return [0, 1, 2].map((i) => front[i] * alpha + back[i] * (1 - alpha)).concat(1);
};
const luminance = (rgb) => {
  const [red, green, blue] = rgb.slice(0, 3).map((channel) => {
    const part = channel / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const contrast = (one, other) => {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
};

// What lies under an element: the system's canvas, then every background on the way in.
const canvas = (() => {
  const probe = document.createElement("div");
  probe.style.backgroundColor = "Canvas";
  document.body.append(probe);
  const found = colour(getComputedStyle(probe).backgroundColor);
  probe.remove();
  return found;
})();
const backgrounds = (element) => {
  const way = [];
  for (let at = element; at; at = at.parentElement) way.unshift(at);
  let under = [canvas];
  for (const at of way) {
    const style = getComputedStyle(at);
    const flat = colour(style.backgroundColor);
    under = under.map((back) => over(flat, back));
    // A gradient is as bad as the worst of its colours.
    const stops = style.backgroundImage.match(/(?:rgba?|oklch|oklab|lab|lch|color)\([^)]*\)/g) || [];
    if (stops.length) under = stops.flatMap((stop) => under.map((back) => over(colour(stop), back)));
    if (/url\(/.test(style.backgroundImage)) wrong.push(`${name(at)} has a picture behind its text`);
  }
  return under;
};
const opacity = (element) => {
  let product = 1;
  for (let at = element; at; at = at.parentElement) product *= Number(getComputedStyle(at).opacity);
  return product;
};
const seen = new Set();
const checkText = (element, style, what) => {
  const pixels = parseFloat(style.fontSize);
  const isLarge = pixels >= 24 || (pixels >= 18.66 && Number(style.fontWeight) >= 700);
  const wanted = isLarge ? 3 : 4.5;
  const ink = colour(style.color);
  const ratios = backgrounds(element).map((back) => contrast(over(ink, back, opacity(element)), back));
  const ratio = Math.min(...ratios);
  const line = `contrast ${ratio.toFixed(2)} of ${what} is below ${wanted}`;
  if (ratio < wanted && !seen.has(line)) {
    seen.add(line);
    wrong.push(line);
  }
};

const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let texts = 0;
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element || !shows(element)) continue;
  if (element.matches(":disabled, :disabled *")) continue;
  texts += 1;
  checkText(element, getComputedStyle(element), name(element));
}
if (texts === 0) wrong.push("the page shows no text at all");
const fields = [...document.querySelectorAll("input:not([type=hidden]), select, textarea")].filter(shows);
for (const field of fields) {
  if (field.type === "checkbox" || field.type === "radio") continue;
  checkText(field, getComputedStyle(field), `what is typed into ${name(field)}`);
  if (field.placeholder) checkText(field, getComputedStyle(field, "::placeholder"), `the placeholder of ${name(field)}`);
}

const wide = document.scrollingElement.scrollWidth;
if (wide > windowWidth) wrong.push(`the page is ${wide} px wide in a window of ${windowWidth} px`);
for (const element of document.body.querySelectorAll("*")) {
  if (!shows(element) || element.closest("svg") !== null) continue;
  const box = element.getBoundingClientRect();
  // One pixel of grace for rounding. A clipped, screen-reader-only element is one pixel small.
  if (box.width > 1 && (box.right > windowWidth + 1 || box.left < -1)) {
    wrong.push(`${name(element)} sticks out of the window (${Math.round(box.left)}–${Math.round(box.right)} px)`);
  }
}

for (const field of fields) {
  const labelled = [...(field.labels || [])].some((label) => label.innerText.trim());
  const ids = (field.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
  const named = field.getAttribute("aria-label") || ids.some((id) => document.getElementById(id)?.innerText.trim());
  if (!labelled && !named) wrong.push(`${name(field)} (${field.name}) has no label`);
}
for (const control of document.querySelectorAll("button, a[href], summary")) {
  const said = control.innerText.trim() || control.getAttribute("aria-label");
  if (shows(control) && !said) wrong.push(`${name(control)} says nothing`);
}
for (const picture of document.querySelectorAll("img")) {
  if (!picture.hasAttribute("alt")) wrong.push(`the picture ${picture.src} has no alt text`);
}
for (const [element, attribute] of [["form", "onsubmit"], ["button", "onclick"], ["body", "onload"]]) {
  if (document.querySelector(`${element}[${attribute}]`)) wrong.push(`an inline ${attribute} handler`);
}
if (!document.documentElement.lang) wrong.push("the page does not say its language");
if (!document.title.trim()) wrong.push("the page has no title");
const headings = [...document.querySelectorAll("h1")].filter(shows).length;
if (headings !== 1) wrong.push(`the page has ${headings} main headings instead of one`);
if (!document.querySelector("main")) wrong.push("the page has no <main>");
return wrong;
