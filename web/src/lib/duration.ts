import { currentLanguage, type Language } from '#/i18n';

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

const AMOUNT = /(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|min|s|m|h|d|w)\s*/g;

/** Milliseconds of a duration as the API writes it, such as `1s250ms`; undefined for what is none. */
export function parseDuration(text: string | null | undefined): number | undefined {
  if (!text) return undefined;
  const negative = text.startsWith('-');
  let total = 0;
  let read = 0;
  for (const match of text.matchAll(AMOUNT)) {
    total += Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0);
    read += match[0].length;
  }
  if (read !== text.length - (negative ? 1 : 0) || read === 0) return undefined;
  return negative ? -total : total;
}

type Unit = 'ns' | 'us' | 'ms' | 's' | 'min' | 'h' | 'd' | 'w';

/** The units in each language, always with a space before them. */
const WORDS: Record<Language, Record<Unit, string>> = {
  en: { ns: 'ns', us: 'µs', ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd', w: 'w' },
  zh: { ns: '纳秒', us: '微秒', ms: '毫秒', s: '秒', min: '分钟', h: '小时', d: '天', w: '周' },
};

/** A measured duration as people read it: two units at most, and no more digits than matter. */
export function formatDuration(milliseconds: number, language: Language = currentLanguage()): string {
  if (milliseconds < 0) return `−${formatDuration(-milliseconds, language)}`;
  const write = (...parts: [string | number, Unit][]) =>
    parts.map(([amount, unit]) => `${amount} ${WORDS[language][unit]}`).join(' ');
  const pair = (large: number, largeUnit: Unit, small: number, smallUnit: Unit) =>
    small === 0 ? write([large, largeUnit]) : write([large, largeUnit], [small, smallUnit]);
  if (milliseconds === 0) return write([0, 'ms']);
  if (milliseconds < 1) return write([Math.round(milliseconds * 1000), 'us']);
  if (milliseconds < 1_000)
    return write([milliseconds < 10 ? trim(milliseconds.toFixed(1)) : Math.round(milliseconds), 'ms']);
  if (milliseconds < 60_000) return write([trim((milliseconds / 1_000).toFixed(milliseconds < 10_000 ? 2 : 1)), 's']);
  const seconds = Math.round(milliseconds / 1_000);
  if (seconds < 3_600) return pair(Math.floor(seconds / 60), 'min', seconds % 60, 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 1_440) return pair(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
  const hours = Math.round(minutes / 60);
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

/** A duration that somebody chose, with every unit that it was written in: `1h30m15s` is `1 h 30 min 15 s`. */
export function durationText(written: string, language: Language = currentLanguage()): string {
  const text = written.trim();
  if (parseDuration(text) === undefined) return text;
  return text
    .replace(AMOUNT, (_, amount, unit) => `${amount} ${WORDS[language][SPELLINGS[unit] ?? (unit as Unit)]} `)
    .replace(/^-/, '−')
    .trim();
}

const SPELLINGS: Record<string, Unit> = { m: 'min', µs: 'us' };

/** How long something took, from instants that know no less than a millisecond. */
export function formatTaken(milliseconds: number): string {
  return milliseconds === 0 ? `<${formatDuration(1)}` : formatDuration(milliseconds);
}

function trim(number: string): string {
  return number.includes('.') ? number.replace(/\.?0+$/, '') : number;
}
