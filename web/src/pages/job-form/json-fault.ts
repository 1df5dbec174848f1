import { parseJson } from '#/ui/json';

/** What should stand where a text stops being JSON. */
export type Wanted = 'value' | 'key' | 'colon' | 'comma_object' | 'comma_array' | 'end' | 'string' | 'number';

export interface JsonFault {
  /** The offset of the first character that does not fit. */
  at: number;
  line: number;
  column: number;
  wanted: Wanted;
}

class Stop extends Error {
  constructor(
    readonly at: number,
    readonly wanted: Wanted,
  ) {
    super(wanted);
  }
}

/** Where and why a text is not JSON; undefined where it is, and for an empty one. Browsers do not agree on how they say it. */
export function jsonFault(text: string): JsonFault | undefined {
  if ('value' in parseJson(text)) return undefined;
  try {
    const end = skip(text, value(text, skip(text, 0)));
    if (end < text.length) throw new Stop(end, 'end');
  } catch (stop) {
    if (!(stop instanceof Stop)) throw stop;
    const before = text.slice(0, stop.at).split('\n');
    return { at: stop.at, wanted: stop.wanted, line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
  }
  return undefined;
}

function skip(text: string, at: number): number {
  let next = at;
  while (next < text.length && ' \t\r\n'.includes(text[next] ?? '')) next += 1;
  return next;
}

/** Walks over the value that begins at `at` and returns where it ends. */
function value(text: string, at: number): number {
  if (text[at] === '{') return members(text, at, '}');
  if (text[at] === '[') return members(text, at, ']');
  if (text[at] === '"') return string(text, at);
  const word = /^(?:true|false|null)(?!\w)/.exec(text.slice(at, at + 6));
  if (word) return at + word[0].length;
  if (!/[-\d]/.test(text[at] ?? '')) throw new Stop(at, 'value');
  const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])/.exec(text.slice(at));
  if (!number) throw new Stop(at, 'number');
  return at + number[0].length;
}

function members(text: string, start: number, close: '}' | ']'): number {
  let at = skip(text, start + 1);
  if (text[at] === close) return at + 1;
  for (;;) {
    if (close === '}') {
      if (text[at] !== '"') throw new Stop(at, 'key');
      at = skip(text, string(text, at));
      if (text[at] !== ':') throw new Stop(at, 'colon');
      at = skip(text, at + 1);
    }
    at = skip(text, value(text, at));
    if (text[at] === close) return at + 1;
    if (text[at] !== ',') throw new Stop(at, close === '}' ? 'comma_object' : 'comma_array');
    at = skip(text, at + 1);
  }
}

function string(text: string, start: number): number {
  const whole = /^"(?:[^"\\]|\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4}))*"/.exec(text.slice(start));
  // Tabs and line ends must be escaped.
  if (!whole || [...whole[0]].some((character) => character < ' ')) throw new Stop(start, 'string');
  return start + whole[0].length;
}
