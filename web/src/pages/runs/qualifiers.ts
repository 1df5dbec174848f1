import { type RunState, runStates } from '#/ui/state';

export const ranges = ['15m', '1h', '24h', '7d'] as const;
export type Range = (typeof ranges)[number];

/** What makes runs. */
export const makers = ['schedule', 'api', 'retry', 'misfire'] as const;
export type Maker = (typeof makers)[number];

/** What the filter box says. */
export interface Asked {
  states: RunState[];
  /** A job's name or number. */
  job?: string;
  /** A task group's name or id. */
  group?: string;
  since?: Range;
  made?: Maker;
  /** The least lateness of a start, as the API writes durations. */
  late?: string;
  /** A worker's name or incarnation. */
  worker?: string;
  /** A run's id: leads straight to it. */
  run?: string;
  /** What was not understood. */
  unknown: string[];
}

/** Run ids as the API writes them. */
const RUN_ID = /^[0-9][0-9a-z]{13,31}$/;

/** One duration as the API reads it: `500ms`, `1s`, `1m30s`. */
const DURATION = /^(\d+(ms|s|m|h|d))+$/;

/** Reads `state:failed,dead job:"nightly report" since:24h`; a word without a qualifier is a job's name. */
export function readQualifiers(text: string): Asked {
  const asked: Asked = { states: [], unknown: [] };
  for (const match of text.matchAll(/(?:([a-z]+):)?(?:"([^"]*)"|(\S+))/g)) {
    const [whole, qualifier, quoted, plain] = match;
    const value = quoted ?? plain ?? '';
    switch (qualifier) {
      case 'state': {
        const named = value.split(',');
        asked.states.push(...runStates.filter((state) => named.includes(state)));
        asked.unknown.push(...named.filter((name) => !(runStates as readonly string[]).includes(name)));
        break;
      }
      case 'job':
        asked.job = value;
        break;
      case 'group':
        asked.group = value;
        break;
      case 'since': {
        const range = ranges.find((range) => range === value);
        if (range) asked.since = range;
        else asked.unknown.push(whole);
        break;
      }
      case 'made': {
        const made = makers.find((made) => made === value);
        if (made) asked.made = made;
        else asked.unknown.push(whole);
        break;
      }
      case 'late':
        if (DURATION.test(value)) asked.late = value;
        else asked.unknown.push(whole);
        break;
      case 'worker':
        asked.worker = value;
        break;
      case undefined:
        if (RUN_ID.test(value)) asked.run = value;
        else asked.job = value;
        break;
      default:
        asked.unknown.push(whole);
    }
  }
  return asked;
}

/** The same as text, as the box shows it. */
export function writeQualifiers(asked: Omit<Asked, 'unknown' | 'run'>): string {
  const quote = (text: string) => (/\s/.test(text) ? `"${text}"` : text);
  return [
    asked.states.length > 0 && `state:${asked.states.join(',')}`,
    asked.job && `job:${quote(asked.job)}`,
    asked.group && `group:${quote(asked.group)}`,
    asked.since && `since:${asked.since}`,
    asked.made && `made:${asked.made}`,
    asked.late && `late:${asked.late}`,
    asked.worker && `worker:${quote(asked.worker)}`,
  ]
    .filter(Boolean)
    .join(' ');
}
