import type { Schemas } from '#/api/client';
import { currentLanguage } from '#/i18n';

const NOTE =
  /^on (\S+) the clock of (\S+) goes (forward|back) from (.+?) to (.+?): (.+?) (?:do(?:es)? not exist and (do(?:es)? not fire|fires at (.+) instead|fire together at (.+))|happens? twice and fires? (both times|only the first time))$/;

/** What a change of the clock does, in the language of the pages. The API says it in English; a sentence of another shape is shown as it is. */
export function clockChangeText(note: Schemas['ClockChangeView'], language = currentLanguage()): string {
  const match = language === 'zh' ? NOTE.exec(note.text) : null;
  if (!match) return note.text.charAt(0).toUpperCase() + note.text.slice(1);
  const [, day, zone, way, from, to, times, gap, at, together, passes] = match;
  const told = (times ?? '')
    .replace(/ and |, /g, '、')
    .replace('many more', '以及更多时刻')
    .replace(/(\d+) more/, '另外 $1 个时刻');
  const fate =
    gap !== undefined
      ? at || together
        ? `不存在，改在 ${at ?? together} ${together ? '合并' : ''}触发`
        : '不存在，不触发'
      : passes === 'both times'
        ? '出现两次，两次都触发'
        : '出现两次，只在第一次触发';
  return `${day}，${zone} 的时钟从 ${from} ${way === 'forward' ? '拨快到' : '拨回到'} ${to}。${told}${told.endsWith('时刻') ? '' : ' '}${fate}。`;
}
