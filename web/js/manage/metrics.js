// The text of /metrics (Prometheus) → numbers, and from two readings → rates and quantiles.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** [{name, labels, value}] */
export function parseMetrics(text) {
  return text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const found = LINE.exec(line);
    return found && {
      name: found[1],
      labels: Object.fromEntries([...(found[2] ?? '').matchAll(LABEL)].map(([, label, value]) => [label, value])),
      value: found[3] === '+Inf' ? Infinity : Number(found[3]),
    };
  }).filter(Boolean);
}

/** The sum of all samples of a name that `matches(labels)`; null where there is none. */
export function sum(samples, name, matches = () => true) {
  const found = samples.filter((one) => one.name === name && matches(one.labels));
  return found.length ? found.reduce((total, {value}) => total + value, 0) : null;
}

/** Cumulative counts of a histogram by upper bound, all its series that match together. */
function buckets(samples, name, matches) {
  const counts = new Map();
  for (const one of samples) {
    if (one.name === `${name}_bucket` && matches(one.labels)) {
      const bound = one.labels.le === '+Inf' ? Infinity : Number(one.labels.le);
      counts.set(bound, (counts.get(bound) ?? 0) + one.value);
    }
  }
  return counts;
}

/** The quantile of what was counted between two readings, by linear interpolation inside its bucket; or null. */
export function quantile({before, now, name, matches}, part) {
  const earlier = buckets(before, name, matches);
  const bounds = [...buckets(now, name, matches)].sort(([a], [b]) => a - b)
    .map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total <= 0) {
    return null;
  }
  let [low, below] = [0, 0];
  for (const [bound, count] of bounds) {
    if (count >= total * part) {
      return bound === Infinity ? low : low + (bound - low) * ((total * part - below) / Math.max(1, count - below));
    }
    [low, below] = [bound, count];
  }
  return low;
}
