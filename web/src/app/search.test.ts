import { expect, test } from 'vitest';
import { listOf, parseSearch, stringifySearch, texts } from './search';

test('an address keeps its filters through both ways', () => {
  const search = { state: 'failed,dead', from: '2026-11-20T12:00:00Z', text: 'a b&c' };
  expect(stringifySearch(search)).toBe('?state=failed,dead&from=2026-11-20T12:00:00Z&text=a+b%26c');
  expect(parseSearch(stringifySearch(search))).toEqual(search);
  expect(stringifySearch({ text: '', state: undefined })).toBe('');
});

test('what a page does not know is left out', () => {
  expect(texts({ group: '101-1-2-6601', made_up: 'x', text: '' }, 'group', 'text')).toEqual({ group: '101-1-2-6601' });
  expect(listOf('dead,nonsense,failed', ['failed', 'dead'])).toEqual(['failed', 'dead']);
});
