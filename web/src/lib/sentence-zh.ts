import cronstrue from 'cronstrue';
import 'cronstrue/locales/zh_CN';
import type { Schemas } from '#/api/client';
import { durationText } from '#/lib/duration';

/** The Chinese sentence of a schedule, without its zone as the API's English one; undefined where cronstrue cannot say it. */
export function chineseSentence(schedule: Schemas['Schedule']): string | undefined {
  const main = mainPart(schedule);
  if (main === undefined) return undefined;
  const parts = [main];
  if (schedule.starts_at) parts.push(`自 ${schedule.starts_at} 起`);
  if (schedule.ends_at) parts.push(`至 ${schedule.ends_at} 止`);
  if (schedule.jitter && schedule.jitter !== '0s') parts.push(`每次最多推迟 ${spoken(schedule.jitter)}`);
  return parts.join('，');
}

function mainPart(schedule: Schemas['Schedule']): string | undefined {
  switch (schedule.type) {
    case 'cron': {
      const quartz = schedule.dialect !== 'unix';
      return cronSentence(schedule.expression, quartz);
    }
    case 'fixed_rate':
      return schedule.anchor
        ? `每 ${spoken(schedule.every)}一次，首次在 ${schedule.anchor}`
        : `每 ${spoken(schedule.every)}一次`;
    case 'fixed_delay':
      return `上次执行结束后 ${spoken(schedule.delay)}`;
    case 'once':
      return `仅一次，在 ${schedule.at}`;
    case 'api':
      return '仅在被触发时执行';
  }
}

function cronSentence(expression: string, quartz: boolean): string | undefined {
  try {
    const text = cronstrue.toString(expression, {
      locale: 'zh_CN',
      // Quartz counts the days of the week from 1, crontab from 0.
      dayOfWeekStartIndexZero: !quartz,
      use24HourTimeFormat: true,
      throwExceptionOnParseError: true,
    });
    return tidied(text);
  } catch {
    return undefined;
  }
}

/** The library's sentence, which it puts together word by word, as one writes it. */
function tidied(text: string): string {
  const parts = text.split(',').map((part) =>
    part
      .replace(/每隔/, '每')
      .replace(/^\s*在\s*(?=\d)/, '在 ')
      .replace(/\s+/g, ' ')
      .replace(/([\u4e00-\u9fff]) (?=[\u4e00-\u9fff])/g, '$1')
      .trim(),
  );
  // "On the hour, every 2 hours": the rhythm comes first, then where in it.
  const rhythm = parts.findIndex((part) => /^每 \d+ (分钟|小时)$/.test(part));
  const places = parts.slice(0, Math.max(rhythm, 0));
  if (places.length > 0 && places.every((part) => /^整点$|^在(一分钟|整点)后的第/.test(part))) {
    parts.unshift(...parts.splice(rhythm, 1));
  }
  // "At 30 seconds past the minute" is each minute's only where nothing says which minute.
  const ofEachMinute = !parts.some((part) => /分钟|整点/.test(part.replace('一分钟后', '')));
  return parts
    .map((part) => part.replace(/^在一分钟后的第 (.+) 秒/, ofEachMinute ? '在每分钟的第 $1 秒' : '在第 $1 秒'))
    .join('，');
}

const spoken = (duration: string) => durationText(duration, 'zh');
