// The words of scripts in the page's language: by their English text, from the page's JSON; numbers as Intl writes them.

export const LANGUAGE = document.documentElement.lang || undefined;
const WORDS = JSON.parse(document.getElementById("words")?.textContent || "{}");
const NUMBER = new Intl.NumberFormat(LANGUAGE);

/** Return the text in the page's language, with the values where it says %(name)s. */
export function _(text, values = {}) {
  return (WORDS[text] ?? text).replace(/%\((\w+)\)s/g, (whole, name) => values[name] ?? whole);
}

/** Return a number as it is written in the language, with so many digits after the point. */
export function number(value, digits) {
  if (digits === undefined) return NUMBER.format(value);
  return new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** Return a number of bytes as people read it: 167 kB, 1.2 MB. */
export function size(bytes) {
  const [unit, value] = bytes < 1e6 ? ["kilobyte", Math.ceil(bytes / 1e3)] : bytes < 1e9 ? ["megabyte", bytes / 1e6] : ["gigabyte", bytes / 1e9];
  return new Intl.NumberFormat(LANGUAGE, { style: "unit", unit, maximumFractionDigits: 1 }).format(value);
}
