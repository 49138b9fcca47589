/** Elements and their renewal. Text only ever enters as a text node: nothing here parses markup. */

const SVG = new Set(['svg', 'path', 'rect', 'circle', 'line', 'g']);

/**
 * @param {string} tag `name.class.class`
 * @param {Record<string, unknown>} [props] attributes; `css` sets custom properties; false and null leave one out
 * @param {...unknown} children nodes, text, nested lists; false and null are nothing
 * @returns {HTMLElement}
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split('.');
  const el = SVG.has(name)
    ? document.createElementNS('http://www.w3.org/2000/svg', name)
    : document.createElement(name);
  if (classes.length) el.setAttribute('class', classes.join(' '));
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (key === 'css') for (const [p, v] of Object.entries(value)) el.style.setProperty(p, v);
    else if (key === 'class') el.setAttribute('class', [...classes, value].join(' '));
    else el.setAttribute(key, value === true ? '' : String(value));
  }
  el.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false && c !== ''));
  return el;
}

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute('data-key') : null);
const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** The next node without a key, from `node` on. */
function nextPlain(node) {
  while (node && keyOf(node) !== null) node = node.nextSibling;
  return node;
}

/** Makes `from` like `to`, keeping what is equal: focus, hover, selection and open details survive a refresh. */
export function morph(from, to) {
  if (from.nodeType === 3) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  for (const { name } of Array.from(from.attributes)) {
    if (!to.hasAttribute(name) && name !== 'style' && !(name === 'open' && from.localName === 'details'))
      from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (name !== 'style' && !(name === 'open' && from.localName === 'details') && from.getAttribute(name) !== value)
      from.setAttribute(name, value);
  }
  if (from.style && from.style.cssText !== to.style.cssText) from.style.cssText = to.style.cssText;

  const keyed = new Map([...from.childNodes].map((node) => [keyOf(node), node]).filter(([key]) => key !== null));
  let at = from.firstChild;
  for (const wanted of Array.from(to.childNodes)) {
    const key = keyOf(wanted);
    const match = key === null ? nextPlain(at) : keyed.get(key);
    if (match && match.nodeName === wanted.nodeName) {
      if (match === at) at = at.nextSibling;
      else from.insertBefore(match, at);
      morph(match, wanted);
    } else {
      from.insertBefore(wanted, at);
      if (key !== null && keyed.size && !calm.matches && !wanted.hasAttribute('data-still'))
        wanted.animate(
          [
            { opacity: 0, backgroundColor: 'var(--glow)' },
            { opacity: 1, backgroundColor: 'var(--glow)', offset: 0.2 },
            {},
          ],
          { duration: 1100, easing: 'ease-out' },
        );
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
