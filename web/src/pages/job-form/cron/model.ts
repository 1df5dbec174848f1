import type { Schemas } from '#/api/client';

export type Dialect = Schemas['CronDialect'];

export type UnitName = 'second' | 'minute' | 'hour' | 'month' | 'year';

/** The values of a unit that is counted; days have a rule of their own. */
export type Values =
  | { kind: 'every' }
  | { kind: 'step'; from: number; step: number }
  | { kind: 'range'; from: number; to: number }
  | { kind: 'chosen'; values: number[] }
  | { kind: 'text'; text: string };

/** On which days: day of month and day of week are one question to people. Weekdays count from 0, Sunday. */
export type Days =
  | { kind: 'every' }
  | { kind: 'weekdays'; values: number[] }
  | { kind: 'dates'; values: number[] }
  | { kind: 'step'; from: number; step: number }
  | { kind: 'last'; before: number }
  | { kind: 'last_workday' }
  | { kind: 'workday'; date: number }
  | { kind: 'nth'; weekday: number; nth: number }
  | { kind: 'last_weekday'; weekday: number }
  | { kind: 'text'; dates: string; weekdays: string };

/** An expression as the builder shows it. */
export interface Cron {
  second: Values;
  minute: Values;
  hour: Values;
  days: Days;
  month: Values;
  /** None where the expression leaves the year out. */
  year: Values | undefined;
}

export const bounds: Record<UnitName, readonly [number, number]> = {
  second: [0, 59],
  minute: [0, 59],
  hour: [0, 23],
  month: [1, 12],
  year: [1970, 2199],
};

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

/** The fields of a dialect in their order. */
export const fieldsOf: Record<Dialect, readonly string[]> = {
  quartz: ['second', 'minute', 'hour', 'dates', 'month', 'weekdays', 'year'],
  unix: ['minute', 'hour', 'dates', 'month', 'weekdays'],
};

const NICKNAMES: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

/** Reads an expression for the builder; undefined where its fields cannot be told apart. Whether it is right, the API says. */
export function readCron(expression: string, dialect: Dialect): Cron | undefined {
  const written = NICKNAMES[expression.trim().toLowerCase()];
  const parts = (dialect === 'unix' && written ? written : expression).trim().split(/\s+/);
  if (dialect === 'quartz' ? parts.length !== 6 && parts.length !== 7 : parts.length !== 5) return undefined;
  const [second, minute, hour, dates, month, weekdays, year] = dialect === 'unix' ? ['0', ...parts] : parts;
  return {
    second: readValues(second ?? '*', 'second'),
    minute: readValues(minute ?? '*', 'minute'),
    hour: readValues(hour ?? '*', 'hour'),
    days: readDays(dates ?? '*', weekdays ?? '*', dialect),
    month: readValues(month ?? '*', 'month'),
    year: year === undefined ? undefined : readValues(year, 'year'),
  };
}

/** Writes what the builder shows. */
export function writeCron(cron: Cron, dialect: Dialect): string {
  const { dates, weekdays } = writeDays(cron.days, dialect);
  const fields = [writeValues(cron.minute, 'minute', dialect), writeValues(cron.hour, 'hour', dialect), dates];
  fields.push(writeValues(cron.month, 'month', dialect), weekdays);
  if (dialect === 'unix') return fields.join(' ');
  if (cron.year && cron.year.kind !== 'every') fields.push(writeValues(cron.year, 'year', dialect));
  return [writeValues(cron.second, 'second', dialect), ...fields].join(' ');
}

/** The same in the other dialect, where it can be said there. */
export function translate(expression: string, from: Dialect, to: Dialect): string | undefined {
  const cron = readCron(expression, from);
  if (!cron || from === to) return undefined;
  if (to === 'unix') {
    const onTheMinute = cron.second.kind === 'chosen' && cron.second.values.join() === '0';
    const plain = ['every', 'weekdays', 'dates', 'step'].includes(cron.days.kind);
    if (!onTheMinute || !plain || cron.year) return undefined;
  }
  return writeCron(cron, to);
}

export function readValues(text: string, unit: UnitName): Values {
  const [least, most] = bounds[unit];
  if (text === '*' || text === '*/1') return { kind: 'every' };
  const step = /^(\*|\w+?)(?:-(\w+))?\/(\d+)$/.exec(text);
  if (step) {
    const from = step[1] === '*' ? least : value(step[1] ?? '', unit);
    const by = Number(step[3]);
    // A step up to some other end than the last is for those who write it.
    const upToTheEnd = step[2] === undefined || value(step[2], unit) === most;
    if (from === undefined || !upToTheEnd || by < 1 || by > most) return { kind: 'text', text };
    return { kind: 'step', from, step: by };
  }
  const range = /^(\w+)-(\w+)$/.exec(text);
  if (range) {
    const [from, to] = [value(range[1] ?? '', unit), value(range[2] ?? '', unit)];
    return from === undefined || to === undefined ? { kind: 'text', text } : { kind: 'range', from, to };
  }
  const values = list(text, (word) => value(word, unit), least, most);
  return values ? { kind: 'chosen', values } : { kind: 'text', text };
}

export function writeValues(values: Values, unit: UnitName, dialect: Dialect): string {
  switch (values.kind) {
    case 'every':
      return '*';
    case 'step':
      return writeStep(values.from, values.step, bounds[unit], dialect);
    case 'range':
      return `${values.from}-${values.to}`;
    case 'chosen':
      return values.values.length === 0 ? '*' : compress(values.values, String);
    case 'text':
      return values.text;
  }
}

/** Crontab knows no step without a range; Quartz people write the first value. */
function writeStep(from: number, step: number, [least, most]: readonly [number, number], dialect: Dialect): string {
  if (dialect === 'quartz') return `${from}/${step}`;
  return from === least ? `*/${step}` : `${from}-${most}/${step}`;
}

function readDays(dates: string, weekdays: string, dialect: Dialect): Days {
  const free = (text: string) => text === '*' || text === '?';
  const asText: Days = { kind: 'text', dates, weekdays };
  if (free(dates) && free(weekdays)) return dates === '?' && weekdays === '?' ? asText : { kind: 'every' };
  if (!free(dates) && !free(weekdays)) return asText;
  return (free(weekdays) ? readDates(dates) : readWeekdays(weekdays, dialect)) ?? asText;
}

function readDates(text: string): Days | undefined {
  const upper = text.toUpperCase();
  if (upper === 'L') return { kind: 'last', before: 0 };
  if (upper === 'LW') return { kind: 'last_workday' };
  const before = /^L-(\d+)$/.exec(upper);
  if (before) return { kind: 'last', before: Number(before[1]) };
  const workday = /^(\d+)W$/.exec(upper);
  if (workday) return { kind: 'workday', date: Number(workday[1]) };
  const step = /^(\*|\d+)(?:-31)?\/(\d+)$/.exec(upper);
  if (step) return { kind: 'step', from: step[1] === '*' ? 1 : Number(step[1]), step: Number(step[2]) };
  const values = list(upper, (word) => whole(word, 1, 31), 1, 31);
  return values && { kind: 'dates', values };
}

function readWeekdays(text: string, dialect: Dialect): Days | undefined {
  const upper = text.toUpperCase();
  const day = (word: string) => weekday(word, dialect);
  if (dialect === 'quartz') {
    const nth = /^(\w+)#(\d)$/.exec(upper);
    const last = /^(\w+?)L$/.exec(upper);
    const named = day(nth?.[1] ?? last?.[1] ?? '');
    if (nth) return named === undefined ? undefined : { kind: 'nth', weekday: named, nth: Number(nth[2]) };
    if (last) return named === undefined ? undefined : { kind: 'last_weekday', weekday: named };
  }
  const values = list(upper, day, 0, 6);
  return values && { kind: 'weekdays', values };
}

function writeDays(days: Days, dialect: Dialect): { dates: string; weekdays: string } {
  const free = dialect === 'quartz' ? '?' : '*';
  const onDates = (dates: string) => ({ dates, weekdays: free });
  const onWeekdays = (weekdays: string) => ({ dates: free, weekdays });
  const name = (weekday: number) => WEEKDAYS[weekday] ?? String(weekday);
  switch (days.kind) {
    case 'every':
      return onDates('*');
    case 'weekdays':
      return days.values.length === 0 ? onDates('*') : onWeekdays(compress(mondayFirst(days.values), name, true));
    case 'dates':
      return onDates(days.values.length === 0 ? '*' : compress(days.values, String));
    case 'step':
      return onDates(writeStep(days.from, days.step, [1, 31], dialect));
    case 'last':
      return onDates(days.before === 0 ? 'L' : `L-${days.before}`);
    case 'last_workday':
      return onDates('LW');
    case 'workday':
      return onDates(`${days.date}W`);
    case 'nth':
      return onWeekdays(`${name(days.weekday)}#${days.nth}`);
    case 'last_weekday':
      return onWeekdays(`${name(days.weekday)}L`);
    case 'text':
      return { dates: days.dates, weekdays: days.weekdays };
  }
}

/** Weeks begin on Monday in what is written, so that `MON-SUN` runs through. */
function mondayFirst(values: readonly number[]): number[] {
  return [...values].sort((a, b) => ((a + 6) % 7) - ((b + 6) % 7));
}

/** The values of a list of values and ranges, ascending; ranges may start over, as in `22-2`. */
function list(
  text: string,
  read: (word: string) => number | undefined,
  least: number,
  most: number,
): number[] | undefined {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const [first, last, ...more] = part.split('-');
    const from = read(first ?? '');
    const to = last === undefined ? from : read(last);
    if (from === undefined || to === undefined || more.length > 0) return undefined;
    for (let at = from; ; at = at === most ? least : at + 1) {
      values.add(at);
      if (at === to) break;
    }
  }
  return [...values].sort((a, b) => a - b);
}

/** `1,2,3,7` as `1-3,7`; two neighbours stay two, unless they are days of the week. */
function compress(values: readonly number[], write: (value: number) => string, cyclic = false): string {
  const parts: string[] = [];
  for (let at = 0; at < values.length; ) {
    let end = at;
    const follows = (next: number, previous: number) =>
      next === previous + 1 || (cyclic && previous === 6 && next === 0);
    while (end + 1 < values.length && follows(values[end + 1] ?? -1, values[end] ?? -1)) end += 1;
    const [from, to] = [write(values[at] ?? 0), write(values[end] ?? 0)];
    if (end - at >= 2) parts.push(`${from}-${to}`);
    else parts.push(...(end > at ? [from, to] : [from]));
    at = end + 1;
  }
  return parts.join(',');
}

function value(word: string, unit: UnitName): number | undefined {
  if (unit === 'month') {
    const named = MONTHS.indexOf(word.toUpperCase());
    if (named >= 0) return named + 1;
  }
  const [least, most] = bounds[unit];
  return whole(word, least, most);
}

function weekday(word: string, dialect: Dialect): number | undefined {
  const named = WEEKDAYS.indexOf(word);
  if (named >= 0) return named;
  const number = dialect === 'quartz' ? whole(word, 1, 7) : whole(word, 0, 7);
  if (number === undefined) return undefined;
  return dialect === 'quartz' ? number - 1 : number % 7;
}

function whole(word: string, least: number, most: number): number | undefined {
  if (!/^\d{1,4}$/.test(word)) return undefined;
  const number = Number(word);
  return number >= least && number <= most ? number : undefined;
}

/** Where the fields of an expression stand: start and end of each, for the labels above it. */
export function spans(expression: string): { from: number; to: number }[] {
  return [...expression.matchAll(/\S+/g)].map((match) => ({ from: match.index, to: match.index + match[0].length }));
}
