import { currentLanguage, type Language } from '#/i18n';

/** Who did something, as the API writes it: `ann`, or `ann (token deploy)`; in Chinese `ann（令牌 deploy）`. */
export function actorText(actor: string, language: Language = currentLanguage()): string {
  return language === 'zh' ? actor.replace(/ \(token (.+)\)$/, '（令牌 $1）') : actor;
}
