import { expect, test } from 'vitest';
import { chineseSentence } from './sentence-zh';

const cron = (expression: string, dialect: 'quartz' | 'unix' = 'quartz') =>
  chineseSentence({ type: 'cron', expression, dialect, time_zone: 'Asia/Shanghai' });

test('days of the week are counted as each dialect counts them', () => {
  expect(cron('0 0 9 ? * 2,4')).toBe('在 09:00，仅星期一 和 星期三');
  expect(cron('0 0 9 ? * MON-FRI')).toBe('在 09:00，星期一至星期五');
  expect(cron('0 9 * * 1-5', 'unix')).toBe('在 09:00，星期一至星期五');
  expect(cron('30 0/5 * * * ?')).toContain('每分钟的第 30 秒');
  expect(cron('0 0 0 ? * 6#3')).toContain('第三个 星期五');
});

test('what cannot be said is left to the English sentence', () => {
  expect(cron('0 0 12 L-3W * ?')).toBeUndefined();
  expect(cron('nonsense')).toBeUndefined();
});

test('every other type has its sentence', () => {
  expect(chineseSentence({ type: 'fixed_rate', every: '10s', jitter: '1s' })).toBe('每 10 秒 一次，每次最多推迟 1 秒');
  expect(chineseSentence({ type: 'api' })).toBe('仅在被触发时执行');
});
