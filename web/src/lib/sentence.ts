import { useEffect, useState } from 'react';
import type { Schemas } from '#/api/client';
import { currentLanguage } from '#/i18n';
import { durationText } from './duration';

type Schedule = Schemas['Schedule'];
type Chinese = typeof import('./sentence-zh').chineseSentence;

let chinese: Chinese | undefined;

/**
 * What a schedule means, in the language of the pages: the API's sentence is English, for Chinese the pages make their own.
 * The English one stands in while the translator is loaded and for what it cannot say.
 */
export function useSentence(schedule: Schedule | undefined, english: string): string {
  const wanted = currentLanguage() === 'zh';
  const [, setLoaded] = useState(chinese !== undefined);
  useEffect(() => {
    if (!wanted || chinese) return;
    void import('./sentence-zh').then((module) => {
      chinese = module.chineseSentence;
      setLoaded(true);
    });
  }, [wanted]);
  const own = wanted && schedule ? chinese?.(schedule) : undefined;
  return own ?? englishSentence(english);
}

/** The API's sentence, which goes on after other words there, as one that stands alone: `every 2s` is `Every 2 s`. */
export function englishSentence(ofApi: string): string {
  const sentence = ofApi.replace(/\b(?:\d+(?:ms|us|[smhd]))+\b/g, (duration) => durationText(duration, 'en'));
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
