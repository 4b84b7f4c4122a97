// The page's elements: found, made, waited for; and what this browser remembers of a visitor's
// wishes. Knows nothing about faces.

import { until } from "./until.js";

const AHEAD = "100px"; // what is about to be scrolled into view counts as seen

export const $ = (id) => document.getElementById(id);

/** A new element with these properties or attributes, and children: elements or text. */
export function make(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** One that submits nothing. */
export const button = (props, ...children) => make("button", { type: "button", ...props }, ...children);

/** Once the element is in view, or an AbortError when `signal` ends the wait. */
export const inView = (element, signal) =>
  until((done) => {
    const observer = new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && done(),
      { rootMargin: AHEAD },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, signal);

/** A preference of this browser; the page works without the storage being there. */
export function stored(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(`visage.${name}`, value);
    return localStorage.getItem(`visage.${name}`);
  } catch {
    return null;
  }
}
