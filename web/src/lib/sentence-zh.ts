import cronstrue from 'cronstrue';
import 'cronstrue/locales/zh_CN';
import type { Schemas } from '#/api/client';

/** The Chinese sentence of a schedule; undefined where cronstrue cannot say it. */
export function chineseSentence(schedule: Schemas['Schedule']): string | undefined {
  const main = mainPart(schedule);
  if (main === undefined) return undefined;
  const parts = [main];
  if (schedule.starts_at) parts.push(`自 ${schedule.starts_at} 起`);
  if (schedule.ends_at) parts.push(`至 ${schedule.ends_at} 止`);
  if (schedule.jitter && schedule.jitter !== '0s') parts.push(`每次最多推迟 ${schedule.jitter}`);
  return parts.join(',');
}

function mainPart(schedule: Schemas['Schedule']): string | undefined {
  switch (schedule.type) {
    case 'cron': {
      const quartz = schedule.dialect !== 'unix';
      const sentence = cronSentence(schedule.expression, quartz);
      return sentence && `${sentence}(${schedule.time_zone ?? 'UTC'})`;
    }
    case 'fixed_rate':
      return schedule.anchor ? `每 ${schedule.every} 一次,首次在 ${schedule.anchor}` : `每 ${schedule.every} 一次`;
    case 'fixed_delay':
      return `上次执行结束后 ${schedule.delay}`;
    case 'once':
      return `仅一次,在 ${schedule.at}`;
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
    return text
      .replace(/\s*,\s*/g, ',')
      .replace(/^在\s*(?=\d)/, '在 ')
      .replace(/\s{2,}/g, ' ')
      .trim();
  } catch {
    return undefined;
  }
}
