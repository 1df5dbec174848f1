import type { Job } from '#/api/queries';
import type { Draft } from './draft';

/** What was typed outlives a reload and a sign-in, in this window only. */
const PREFIX = 'carillon.draft.';

export interface Kept {
  draft: Draft;
  /** The version it began from; where another one is in force by then, the difference is shown. */
  base: Job | undefined;
}

export function keep(key: string, kept: Kept) {
  try {
    sessionStorage.setItem(PREFIX + key, JSON.stringify(kept));
  } catch {
    // A full store loses the comfort, not the form.
  }
}

export function kept(key: string): Kept | undefined {
  const text = sessionStorage.getItem(PREFIX + key);
  if (!text) return undefined;
  try {
    return JSON.parse(text) as Kept;
  } catch {
    return undefined;
  }
}

export function forget(key: string) {
  sessionStorage.removeItem(PREFIX + key);
}
