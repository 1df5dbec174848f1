import { expect, test } from 'vitest';
import { englishSentence } from './sentence';

test('a sentence of the API stands alone, with durations as everywhere', () => {
  expect(englishSentence('every 2s, each up to 1m30s later')).toBe('Every 2 s, each up to 1 min 30 s later');
  expect(englishSentence('every 1h, the first time at 2026-11-21T00:30:00Z')).toBe(
    'Every 1 h, the first time at 2026-11-21T00:30:00Z',
  );
  expect(englishSentence('500ms after the previous run is final')).toBe('500 ms after the previous run is final');
  expect(englishSentence('at 09:00:00 on Monday (Asia/Shanghai)')).toBe('At 09:00:00 on Monday (Asia/Shanghai)');
});
