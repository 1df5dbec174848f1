const UNITS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Milliseconds of a duration as the API writes it, such as `1s250ms`; undefined for what is none. */
export function parseDuration(text: string | null | undefined): number | undefined {
  if (!text) return undefined;
  const negative = text.startsWith('-');
  let total = 0;
  let read = 0;
  for (const match of text.matchAll(/(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|min|s|m|h|d|w)\s*/g)) {
    total += Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0);
    read += match[0].length;
  }
  if (read !== text.length - (negative ? 1 : 0) || read === 0) return undefined;
  return negative ? -total : total;
}

/** A duration as people read it: two units at most, and no more digits than matter. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 0) return `−${formatDuration(-milliseconds)}`;
  if (milliseconds < 1) return milliseconds === 0 ? '0 ms' : `${Math.round(milliseconds * 1000)} µs`;
  if (milliseconds < 1_000) return `${milliseconds < 10 ? trim(milliseconds.toFixed(1)) : Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${trim((milliseconds / 1_000).toFixed(milliseconds < 10_000 ? 2 : 1))} s`;
  const seconds = Math.round(milliseconds / 1_000);
  if (seconds < 3_600) return pair(Math.floor(seconds / 60), 'min', seconds % 60, 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 1_440) return pair(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
  const hours = Math.round(minutes / 60);
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function trim(number: string): string {
  return number.includes('.') ? number.replace(/\.?0+$/, '') : number;
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}
