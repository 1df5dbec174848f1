import { afterEach, expect, test } from 'vitest';
import { chooseLanguage } from '#/i18n';
import { countText, relative } from './time';

const now = Date.parse('2026-11-21T00:00:00Z');
const after = (seconds: number) => relative(new Date(now + seconds * 1_000), now);

afterEach(() => chooseLanguage('en'));

test('a distance to now has a space between its number and its unit, in both languages', () => {
  expect(after(-180)).toBe('3 min ago');
  chooseLanguage('zh');
  expect(after(2)).toBe('2 秒后');
  expect(after(-180)).toBe('3 分钟前');
  expect(after(11 * 3_600)).toBe('11 小时后');
});

test('numbers are written with separators, and what is none as it was typed', () => {
  expect(countText('10000')).toBe('10,000');
  expect(countText('many')).toBe('many');
});
