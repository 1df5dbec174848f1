import { expect, test } from 'vitest';
import { jsonFault } from './json-fault';

test.each([
  ['{\n  "day": tomorrow\n}', 2, 10, 'value'],
  ['[1, 2', 1, 6, 'comma_array'],
  ['{"a": 1,}', 1, 9, 'key'],
  ["{'a': 1}", 1, 2, 'key'],
  ['{"a" 1}', 1, 6, 'colon'],
  ['{"a": 1 "b": 2}', 1, 9, 'comma_object'],
  ['[1]\n[2]', 2, 1, 'end'],
  ['{"a": "open}', 1, 7, 'string'],
  ['{"a": "\\x"}', 1, 7, 'string'],
  ['[01]', 1, 2, 'number'],
  ['tomorrow', 1, 1, 'value'],
])('%j stops being JSON at %i:%i, where a %s belongs', (text, line, column, wanted) => {
  expect(jsonFault(text)).toMatchObject({ line, column, wanted });
});

test.each(['', ' {"a": [1, null, -2.5e3, "\\u00e9"], "b": {}} ', '"text"', '[]', '0'])('%j is fine', (text) => {
  expect(jsonFault(text)).toBeUndefined();
});

test('whatever the browser refuses has a place', () => {
  const sound = '{"a": [1, true, "x\\n"], "b": {"c": null}}';
  for (let cut = 1; cut < sound.length; cut += 1) expect(jsonFault(sound.slice(0, cut))?.at).toBeLessThanOrEqual(cut);
});
