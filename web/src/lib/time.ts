import { locale } from '#/i18n';

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${locale()} ${zone} ${JSON.stringify(options)}`;
  let found = formats.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat(locale(), { timeZone: zone, hourCycle: 'h23', ...options });
    formats.set(key, found);
  }
  return found;
}

function parts(zone: string, at: Date, options: Intl.DateTimeFormatOptions): Record<string, string> {
  return Object.fromEntries(
    format(zone, options)
      .formatToParts(at)
      .map((part) => [part.type, part.value]),
  );
}

/** `2026-11-20 20:39:28.003`: sorts, and reads the same in every language. */
export function instant(at: Date, zone: string, milliseconds = true): string {
  const p = parts(zone, at, {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    fractionalSecondDigits: 3,
  });
  const text = `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second}`;
  return milliseconds ? `${text}.${p.fractionalSecond}` : text;
}

/** `20:39:28`, with the milliseconds where asked for. */
export function clock(at: Date, zone: string, milliseconds = false): string {
  return instant(at, zone, milliseconds).slice(11);
}

/** The day in `zone`, as `2026-11-20`. */
export function day(at: Date, zone: string): string {
  return instant(at, zone).slice(0, 10);
}

/** The zone as people write it: `UTC`, `GMT+8`. */
export function zoneLabel(at: Date, zone: string): string {
  if (zone === 'UTC') return 'UTC';
  return parts(zone, at, { timeZoneName: 'short' }).timeZoneName ?? zone;
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];

/** `in 12 sec`, `2 min ago`; `12 秒后`, with the space before a Chinese unit that durations have. */
export function relative(at: Date, now: number): string {
  const seconds = Math.round((at.getTime() - now) / 1_000);
  const words = new Intl.RelativeTimeFormat(locale(), { numeric: 'auto', style: 'short' });
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size || unit === 'second') {
      return words.format(Math.trunc(seconds / size), unit).replace(/(\d)(?=[\u4e00-\u9fff])/, '$1 ');
    }
  }
  return '';
}

/** A count with the separators of the language; `10 000+` where counting stopped. */
export function count(number: number, capped = false): string {
  return new Intl.NumberFormat(locale() === 'zh-CN' ? 'zh-CN' : 'en-GB').format(number) + (capped ? '+' : '');
}

/** A number that somebody typed, as `count` writes it; what is none stays as it is. */
export function countText(typed: string | number): string {
  return /^\d+$/.test(String(typed)) ? count(Number(typed)) : String(typed);
}
