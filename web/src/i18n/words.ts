import i18next from 'i18next';

/** The languages of the pages. */
export const languages = { en: 'English', zh: '中文' } as const;

export type Language = keyof typeof languages;

/** Texts of a part of the pages: flat keys; `x_one` and `x_other` are the plural forms of `x`. */
type Texts = Record<string, string>;

/** Chinese has one plural form, so `x_one` may be left out there; everything else must be there, and nothing more. */
type Translation<T extends Texts> = { [K in keyof T as K extends `${string}_one` ? never : K]: string } & {
  [K in keyof T as K extends `${string}_one` ? K : never]?: string;
};

type PluralBase<K> = K extends `${infer Base}_one` | `${infer Base}_other` ? Base : K;

/** The key of a text. */
export type Key<T extends Texts> = Extract<PluralBase<keyof T>, string>;

export interface Words<T extends Texts> {
  readonly name: string;
  readonly en: T;
  readonly zh: Translation<T>;
}

/** Everything that was ever defined, for the test that holds both languages against each other. */
export const allWords: Words<Texts>[] = [];

/**
 * The texts of one part of the pages, in both languages. A key that one of them lacks does not compile.
 * They are loaded with the page that needs them.
 */
export function defineWords<const T extends Texts>(name: string, en: T, zh: Translation<NoInfer<T>>): Words<T> {
  i18next.addResourceBundle('en', name, en, false, true);
  i18next.addResourceBundle('zh', name, zh, false, true);
  const words = { name, en, zh } as unknown as Words<T>;
  allWords.push(words as unknown as Words<Texts>);
  return words;
}
