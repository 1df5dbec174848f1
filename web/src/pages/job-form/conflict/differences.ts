import type { JobSpec } from '../draft';

/** A field that differs between what I want and what is there now. */
export interface Difference {
  /** The dotted path, as the API names the field. */
  field: string;
  base: unknown;
  mine: unknown;
  theirs: unknown;
  by: 'me' | 'them' | 'both';
}

export type Side = 'mine' | 'theirs';

/** What is taken as a whole: the parts of one choice would not fit the other. */
const WHOLE = new Set(['schedule', 'overlap', 'routing', 'params', 'labels', 'selector.labels', 'retry.on']);

/** The fields in which `mine` and `theirs` differ, and who changed them since `base`. */
export function differences(base: JobSpec, mine: JobSpec, theirs: JobSpec): Difference[] {
  const paths = new Set([...leaves(base), ...leaves(mine), ...leaves(theirs)]);
  return [...paths].flatMap((field) => {
    const [was, my, their] = [at(base, field), at(mine, field), at(theirs, field)];
    if (same(my, their)) return [];
    const by = same(was, my) ? 'them' : same(was, their) ? 'me' : 'both';
    return [{ field, base: was, mine: my, theirs: their, by }];
  });
}

/** Which side one begins with: everybody's own changes; where both changed the same, mine. */
export function firstChoice(difference: Difference): Side {
  return difference.by === 'them' ? 'theirs' : 'mine';
}

/** What is there now with my side of the fields chosen so. */
export function merged(theirs: JobSpec, found: readonly Difference[], chosen: Record<string, Side>): JobSpec {
  const result = structuredClone(theirs) as Record<string, unknown>;
  for (const difference of found) {
    if ((chosen[difference.field] ?? firstChoice(difference)) !== 'mine') continue;
    const path = difference.field.split('.');
    const last = path.pop() ?? '';
    let target = result;
    for (const name of path) {
      target[name] ??= {};
      target = target[name] as Record<string, unknown>;
    }
    target[last] = structuredClone(difference.mine);
  }
  return result as JobSpec;
}

function leaves(value: unknown, path = ''): string[] {
  if (path !== '' && (WHOLE.has(path) || !isObject(value))) return [path];
  return Object.entries(value as Record<string, unknown>).flatMap(([name, part]) =>
    leaves(part, path ? `${path}.${name}` : name),
  );
}

function at(value: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((part, name) => (isObject(part) ? part[name] : undefined), value as Record<string, unknown>);
}

/** Null and left out mean the same; the order of fields means nothing. */
export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(ordered(a ?? null)) === JSON.stringify(ordered(b ?? null));
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .filter((name) => value[name] !== undefined && value[name] !== null)
      .map((name) => [name, ordered(value[name])]),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
