import { parseDuration } from '#/lib/duration';
import type { Draft } from '../draft';

/** The wait before a further attempt, in milliseconds: the longest it can be, and the shortest with its random share drawn off. */
export interface Wait {
  longest: number;
  shortest: number;
}

/** More than this say nothing new. */
export const MOST_WAITS = 99;

/** The waits between the attempts of a retry policy, as the engine takes them; undefined while a field is not right. */
export function waitsOf(retry: Draft['retry']): Wait[] | undefined {
  const attempts = Number(retry.max_attempts || '1');
  const initial = parseDuration(retry.initial.replace(/\s/g, '') || '1s');
  const most = parseDuration(retry.max.replace(/\s/g, '') || '5m');
  const jitter = Number(retry.jitter || '0.1');
  if (!Number.isInteger(attempts) || attempts < 1 || initial === undefined || most === undefined) return undefined;
  if (!(jitter >= 0 && jitter <= 1)) return undefined;
  return Array.from({ length: Math.min(attempts - 1, MOST_WAITS) }, (_, index) => {
    const wait = retry.backoff === 'exponential' ? initial * 2 ** Math.min(index, 32) : initial;
    const longest = Math.min(wait, most);
    return { longest, shortest: longest * (1 - jitter) };
  });
}
