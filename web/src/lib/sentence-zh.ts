import cronstrue from 'cronstrue';
import 'cronstrue/locales/zh_CN';
import type { Schemas } from '#/api/client';

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
        ? `每 ${spoken(schedule.every)} 一次，首次在 ${schedule.anchor}`
        : `每 ${spoken(schedule.every)} 一次`;
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
    return (
      text
        .replace(/\s*,\s*/g, '，')
        // The second of each minute: the library says "30 seconds past the minute" word by word.
        .replace(/在一分钟后的第 (\d+) 秒/, '在每分钟的第 $1 秒')
        .replace(/^在\s*(?=\d)/, '在 ')
        .replace(/\s{2,}/g, ' ')
        .trim()
    );
  } catch {
    return undefined;
  }
}

const UNITS: Record<string, string> = { ms: '毫秒', s: '秒', m: '分钟', h: '小时', d: '天' };

/** A duration as one says it: `1h30m` is `1 小时 30 分钟`. */
function spoken(duration: string): string {
  return duration.replace(/(\d+)(ms|[smhd])/g, (_, amount, unit) => `${amount} ${UNITS[unit]} `).trim();
}
