import { expect, test } from 'vitest';
import './index';
import { allWords } from './words';

const modules = import.meta.glob(['../**/words.ts', '../**/*.words.ts', '!./words.ts'], { eager: true });

function placeholders(text: string): string[] {
  return [...text.matchAll(/{{\s*(\w+)[^}]*}}/g)].map((match) => match[1] ?? '').sort();
}

test('both languages say everything, with the same placeholders', () => {
  expect(Object.keys(modules).length).toBeGreaterThan(3);
  expect(new Set(allWords.map((words) => words.name)).size).toBe(allWords.length);
  for (const { name, en, zh } of allWords) {
    for (const [key, text] of Object.entries(en)) {
      const chinese = zh[key as keyof typeof zh];
      if (key.endsWith('_one')) continue;
      expect(chinese?.trim(), `${name}.${key}`).toBeTruthy();
      expect(placeholders(chinese ?? ''), `${name}.${key}`).toEqual(placeholders(text));
    }
    expect(
      Object.keys(zh).filter((key) => !(key in en)),
      name,
    ).toEqual([]);
  }
});

test('Chinese texts are Chinese', () => {
  // Names and units that stay as they are in both languages.
  const same = /^[\s\d\W]*$|^(Carillon|Cron|JSON|SLO|API|curl|UTC|ID|p50|p99|Quartz|Unix)/;
  for (const { name, en, zh } of allWords) {
    for (const [key, text] of Object.entries(zh)) {
      if (text === undefined || same.test(en[key] ?? '') || same.test(text)) continue;
      expect(/[\u4e00-\u9fff]|{{/.test(text), `${name}.${key}: ${text}`).toBe(true);
    }
  }
});
