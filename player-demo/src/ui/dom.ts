// The few things the pages do with the document.

/** The element with this id, which the page's HTML promises. */
export function element<T extends Element>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) {
    throw new Error(`the page has no ${type.name} #${id}`);
  }
  return found;
}

/** The element below `root` that a selector names, which the template's HTML promises. */
export function within<T extends Element>(root: ParentNode, selector: string, type: new () => T): T {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) {
    throw new Error(`the page has no ${type.name} ${selector}`);
  }
  return found;
}

/** The first element of a template, once more. */
export function stamp(id: string): HTMLElement {
  const copy = element(id, HTMLTemplateElement).content.firstElementChild?.cloneNode(true);
  if (!(copy instanceof HTMLElement)) {
    throw new Error(`the template #${id} is empty`);
  }
  return copy;
}

/** Sets text only where it changes, so that screen readers and layout are left alone. */
export function setText(node: Element, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}
