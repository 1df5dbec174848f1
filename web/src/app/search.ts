/** Search params are plain texts in the address, so that people can read and edit them. */
export type Search = Record<string, string | undefined>;

export function parseSearch(text: string): Search {
  return Object.fromEntries(new URLSearchParams(text));
}

export function stringifySearch(search: Record<string, unknown>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(search)) {
    if (value !== undefined && value !== null && value !== '') params.set(name, String(value));
  }
  // Commas and colons read better as they are, and are allowed in a query.
  const text = params.toString().replaceAll('%2C', ',').replaceAll('%3A', ':').replaceAll('%2F', '/');
  return text ? `?${text}` : '';
}

/** Keeps the texts under `names`. */
export function texts<Name extends string>(
  search: Record<string, unknown>,
  ...names: Name[]
): { [N in Name]?: string } {
  const kept: { [N in Name]?: string } = {};
  for (const name of names) {
    const value = search[name];
    if (typeof value === 'string' && value !== '') kept[name] = value;
  }
  return kept;
}

/** The members of `allowed` that a text names, separated by commas. */
export function listOf<Value extends string>(text: string | undefined, allowed: readonly Value[]): Value[] {
  const named = new Set((text ?? '').split(','));
  return allowed.filter((value) => named.has(value));
}
