// Elements. Whatever comes from the server (item ids, scopes, messages) is text of strangers: it
// reaches the document as text nodes only, and never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element of that id, which index.html has. */
export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a child that is a string becomes text. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for parts of a drawing. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** An id as text that cannot turn the direction of what stands around it. */
export const idText = (id) => el("bdi", { class: "id" }, id);

/** Sets the text of an element where it differs, so that nothing is repainted or said twice. */
export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** True where the reader has asked for less motion. */
export const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
