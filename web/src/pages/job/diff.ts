/** A field that differs between two versions. */
export interface Change {
  field: string;
  before: unknown;
  after: unknown;
}

/** What is counted or computed, not written by people. */
const OURS = new Set(['revision', 'updated_at', 'updated_by', 'effective_from', 'next_fires', 'schedule_sentence']);

/** The fields that differ, as dotted paths; lists are compared as a whole. */
export function changes(before: unknown, after: unknown, path = ''): Change[] {
  if (isObject(before) && isObject(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
      (name) => path !== '' || !OURS.has(name),
    );
    return names.flatMap((name) => changes(before[name], after[name], path ? `${path}.${name}` : name));
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ field: path, before, after }];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
