// JSON.parse for replies that carry 64-bit integers. A number in JavaScript holds integers exactly up to 2^53 only;
// beyond that JSON.parse rounds silently, and a fileid would name another picture. Here every integer that a number
// cannot hold becomes a string with all its digits; everything else is as JSON.parse gives it.
//
// Browsers of 2025 hand the source text of a number to the reviver. Others get the scanner: it puts quotes around the
// long integers before parsing, and passes over strings as a whole, so digits inside a string are never touched.

const INTEGER = /^-?\d+$/;
// A string, or a number. The unrolled form of the string does not backtrack, however long it is.
const TOKEN = /"[^"\\]*(?:\\[^][^"\\]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

const sourceIsGiven = (() => {
  let given = false;
  JSON.parse('1', (key, value, context) => {
    given = context?.source === '1';
    return value;
  });
  return given;
})();

export function parseWithReviver(text) {
  return JSON.parse(text, (key, value, context) => {
    const isLong = typeof value === 'number' && !Number.isSafeInteger(value) && INTEGER.test(context.source);
    return isLong ? context.source : value;
  });
}

export function parseWithScanner(text) {
  const quoted = text.replace(TOKEN, (token) => {
    const isLong = INTEGER.test(token) && !Number.isSafeInteger(Number(token));
    return isLong ? `"${token}"` : token;
  });
  return JSON.parse(quoted);
}

export const parse = sourceIsGiven ? parseWithReviver : parseWithScanner;
