import i18next from 'i18next';
import { initReactI18next, useTranslation } from 'react-i18next';
import { type Key, type Language, languages, type Words } from './words';

export { defineWords, type Language, languages } from './words';

const STORED = 'carillon.language';

function firstLanguage(): Language {
  const stored = localStorage.getItem(STORED);
  if (stored && stored in languages) return stored as Language;
  return navigator.languages?.some((language) => language.toLowerCase().startsWith('zh')) &&
    !navigator.language.toLowerCase().startsWith('en')
    ? 'zh'
    : 'en';
}

// Synchronous: the texts are in the bundle, so that nothing flickers.
void i18next.use(initReactI18next).init({
  lng: firstLanguage(),
  fallbackLng: 'en',
  supportedLngs: Object.keys(languages),
  initAsync: false,
  keySeparator: false,
  nsSeparator: false,
  resources: { en: {}, zh: {} },
  interpolation: { escapeValue: false },
  react: { useSuspense: false },
});

function mark(language: string) {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
}
mark(i18next.language);
i18next.on('languageChanged', mark);

export function currentLanguage(): Language {
  return i18next.language === 'zh' ? 'zh' : 'en';
}

export function chooseLanguage(language: Language) {
  localStorage.setItem(STORED, language);
  void i18next.changeLanguage(language);
}

/** The language that formatters of dates and numbers get. */
export function locale(): string {
  return currentLanguage() === 'zh' ? 'zh-CN' : 'en-GB';
}

type Values = Record<string, string | number>;

/** Says a text of `words`; the key is checked by the compiler. */
export type Say<W> = W extends Words<infer T> ? (key: Key<T>, values?: Values) => string : never;

/** The texts of `words` in the language chosen. */
export function useWords<T extends Record<string, string>>(words: Words<T>): Say<Words<T>> {
  const { t } = useTranslation(words.name);
  return ((key: string, values?: Values) => t(key, values as never) as unknown as string) as Say<Words<T>>;
}

/** The same outside of components. */
export function say<T extends Record<string, string>>(words: Words<T>, key: Key<T>, values?: Values): string {
  return i18next.t(key, { ...values, ns: words.name } as never) as unknown as string;
}

/** Whether `key`, which came from the API, has a text; unknown ones are shown as they are. */
export function known<T extends Record<string, string>>(words: Words<T>, key: string): key is Key<T> {
  return key in words.en || `${key}_other` in words.en;
}
