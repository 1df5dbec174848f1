import { expect, test } from 'vitest';
import { clockChangeText } from './clock-change';

const at = '2027-03-28T01:00:00.000Z';
const spring = 'on 2027-03-28 the clock of Europe/Berlin goes forward from 02:00:00 to 03:00:00: ';
const autumn = 'on 2027-10-31 the clock of Europe/Berlin goes back from 03:00:00 to 02:00:00: ';

test.each([
  [`${spring}02:30:00 does not exist and fires at 03:00:00 instead`, '02:30:00 不存在，改在 03:00:00 触发。'],
  [
    `${spring}02:00:00, 02:20:00 and 02:40:00 do not exist and do not fire`,
    '02:00:00、02:20:00、02:40:00 不存在，不触发。',
  ],
  [
    `${spring}02:00:00, 02:01:00, 02:02:00 and 57 more do not exist and fire together at 03:00:00`,
    '02:00:00、02:01:00、02:02:00、另外 57 个时刻不存在，改在 03:00:00 合并触发。',
  ],
  [`${autumn}02:30:00 happens twice and fires only the first time`, '02:30:00 出现两次，只在第一次触发。'],
  [`${autumn}02:00:00 and 02:30:00 happen twice and fire both times`, '02:00:00、02:30:00 出现两次，两次都触发。'],
])('%s', (text, chinese) => {
  expect(clockChangeText({ at, change: 'forward', text }, 'zh')).toContain(chinese);
  expect(clockChangeText({ at, change: 'forward', text }, 'zh')).toMatch(
    /^2027-(03-28|10-31)，Europe\/Berlin 的时钟从 0\d:00:00 拨/,
  );
});

test('a sentence that is not known is shown as it is', () => {
  expect(clockChangeText({ at, change: 'back', text: 'the clock stands still' }, 'zh')).toBe('The clock stands still');
});
