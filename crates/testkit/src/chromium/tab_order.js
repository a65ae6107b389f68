// Helps to walk the page with the Tab key. Runs as the body of a function:
// `arguments[0]` is "start" (forget the focus, return the names of the controls in
// document order), "where" (return which of them has the focus, and whether it shows) or
// "end" (put the focus back where the page had it).
const controls = [
  ...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]"),
].filter((element) => !element.disabled && element.tabIndex >= 0 && element.checkVisibility({ visibilityProperty: true }));

const look = (element) => {
  const style = getComputedStyle(element);
  return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow, style.borderColor].join(" ");
};
const name = (element) => {
  const words = (element.innerText || element.name || "").trim().replace(/\s+/g, " ");
  return `<${element.localName}> “${words.slice(0, 40)}”`;
};

if (arguments[0] === "start") {
  window.authflowFirstFocus = document.activeElement;
  // Focusing the body and taking the focus away again lets the next Tab begin at the top,
  // also where a field has `autofocus`.
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute("tabindex");
  document.activeElement?.blur();
  window.authflowUnfocused = controls.map(look);
  return { names: controls.map(name), positive: controls.filter((control) => control.tabIndex > 0).map(name) };
}

if (arguments[0] === "end") {
  document.activeElement?.blur();
  if (window.authflowFirstFocus !== document.body) window.authflowFirstFocus?.focus();
  scrollTo(0, 0);
  return null;
}

// A focus ring may fade in; it counts when it has.
document.getAnimations().forEach((animation) => animation.finish());
const index = controls.indexOf(document.activeElement);
const shows = index >= 0 && document.activeElement.matches(":focus-visible")
  && look(document.activeElement) !== window.authflowUnfocused[index];
const box = document.activeElement.getBoundingClientRect();
const isInside = box.bottom > 0 && box.top < innerHeight;
return { index, shows: shows && isInside };
